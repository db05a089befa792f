"""How quantities are written for people: counts, bytes, shares, times and measured values."""

import math
from typing import Any

#: Between a number and its unit: the two stay on one line.
NARROW = "\N{NARROW NO-BREAK SPACE}"
_KILO = 1000
_MINUTE = 60
_HOUR = 3600
#: Below this many units a size or a time gets a decimal.
_SMALL = 100
#: Shares nearer to none or all than this are written as such.
_TINY = 0.001
#: Reals from here on are written without decimals; below _POINT, with an exponent.
_BIG, _POINT = 1000, 0.0001
#: Half of the last of three digits: from here on a number is rounded up to the next unit.
_HALF_DIGIT = 0.0005


def count(n: int) -> str:
    """12345 -> '12,345'."""
    return f"{n:,}"


def size(nbytes: float) -> str:
    """Bytes in decimal units: 48213000 -> '48.2 MB'."""
    amount = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(amount) < _KILO or unit == "TB":
            break
        amount /= _KILO
    digits = 0 if unit == "B" or amount >= _SMALL else 1
    return f"{amount:.{digits}f}{NARROW}{unit}"


def share(part: float, whole: float) -> str:
    """A part of a whole in percent; what is there but tiny is not called 0, what is nearly all not 100."""
    if not whole:
        return "–"
    fraction = part / whole
    if fraction in (0, 1):
        return f"{100 * fraction:.0f}{NARROW}%"
    if fraction < _TINY:
        return f"<0.1{NARROW}%"
    if fraction > 1 - _TINY:
        return f">99.9{NARROW}%"
    return f"{100 * fraction:.1f}{NARROW}%"


def duration(seconds: float) -> str:
    """Seconds as '0.42 s', '12.3 s', '2 min 05 s' or '3 h 07 min'."""
    if seconds < 1:
        return f"{seconds:.2f}{NARROW}s"
    if seconds < _MINUTE:
        return f"{seconds:.1f}{NARROW}s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE}{NARROW}min {whole % _MINUTE:02d}{NARROW}s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // _MINUTE}{NARROW}h {minutes % _MINUTE:02d}{NARROW}min"


def rate(nbytes: float, seconds: float) -> str:
    """Text per second, or a dash when nothing was done."""
    return f"{size(nbytes / seconds)}/s" if seconds > 0 and nbytes > 0 else "–"


def magnitude(number: float | None) -> str:
    """Parameters or tokens with three digits: 1800000 -> '1.8 M', 7.32e10 -> '73.2 B'; null is '–'."""
    if number is None:
        return "–"
    for power, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= power * (1 - _HALF_DIGIT):
            return f"{_real(float(f'{number / power:.3g}'))}{NARROW}{unit}"
    return f"{number:.3g}"


def value(x: Any) -> str:
    """A measured value with at most four significant digits; null is '–'."""
    if x is None:
        return "–"
    if isinstance(x, bool):
        return "yes" if x else "no"
    if isinstance(x, int):
        return count(x)
    if isinstance(x, float):
        return _real(x)
    if isinstance(x, (list, tuple)):
        return ", ".join(value(part) for part in x)
    return str(x)


def _real(x: float) -> str:
    if not math.isfinite(x):
        return str(x)
    if x == 0:
        return "0"
    if abs(x) >= _BIG:
        return f"{x:,.0f}"
    if abs(x) < _POINT:
        return f"{x:.2e}"
    text = f"{x:.{max(0, 3 - math.floor(math.log10(abs(x))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
