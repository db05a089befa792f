"""Colours as a browser computed them, and how well one is read on another (WCAG 2)."""


def colour(page, expression):
    """Red, green, blue and opacity of a computed colour."""
    text = page.evaluate(expression)
    parts = [float(part) for part in text[text.index("(") + 1 : -1].replace(",", " ").replace("/", " ").split()]
    return parts if len(parts) == 4 else [*parts, 1.0]


def luminance(rgb):
    """Relative luminance (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    one, other = luminance(one[:3]), luminance(other[:3])
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
