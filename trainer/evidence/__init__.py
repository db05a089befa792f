"""What losses of trained arms prove, and what they do not: intervals, abstention, attribution. Numbers in, numbers out."""
