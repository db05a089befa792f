"""What selection and order are made of: sortable keys, the ranks of all documents, shares of a budget, pacing."""
