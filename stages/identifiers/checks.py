"""Which strings of the right shape are identifiers: checksums, registries of addresses, lengths by country."""

import ipaddress
import re

#: Blocks that no one's machine answers from, or that are for documentation (RFC 6890, 5737, 3849, 9637, 5771).
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    )
)  # fmt: skip
_FIRST_4 = frozenset(range(224, 256)) | {block.network_address.packed[0] for block in _NOT_PUBLIC_4}
_OCTET = 256
#: Global unicast addresses (RFC 4291), and what of them is for documentation, tests and identifiers without a place.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001:db8::/32", "3fff::/20", "2001:2::/48", "2001:10::/28", "2001:20::/28")
)

#: Length of an IBAN by country (SWIFT's IBAN registry, release 99).
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

#: Prefixes of issuers with the lengths of their numbers: Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|(?:5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d*(?<=\A\d{16})"
    r"|3[47]\d{13}|(?:6011|64[4-9]\d|65\d\d)\d{12}(?:\d{3})?|35(?:2[89]|[3-8]\d)\d{12}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|62\d{14,17}"
)


def is_public_ip4(text: str) -> bool:
    """Whether numbers with dots are an address of a machine that anyone can reach; leading zeros are no address."""
    octets = [int(octet) for octet in text.split(".")]
    if len(octets) != 4 or max(octets) >= _OCTET or ".".join(map(str, octets)) != text:  # noqa: PLR2004 - of version 4
        return False
    if octets[0] not in _FIRST_4:
        return True
    address = ipaddress.IPv4Address(text)
    return not any(address in block for block in _NOT_PUBLIC_4)


def is_public_ip6(text: str) -> bool:
    """Whether a text is a global unicast IPv6 address, not one for documentation."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address in _PUBLIC_6 and not any(address in block for block in _NOT_PUBLIC_6)


def is_iban(compact: str) -> bool:
    """Whether letters and digits without spaces are an IBAN: the country's length, and 1 modulo 97 (ISO 7064)."""
    if len(compact) != IBAN_LENGTHS.get(compact[:2]):
        return False
    if not (compact.isascii() and compact.isalnum() and compact.isupper()):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def is_card(digits: str) -> bool:
    """Whether digits are the number of a payment card: an issuer's prefix and length, and Luhn's check digit."""
    if _ISSUERS.fullmatch(digits) is None:
        return False
    doubled = (int(c) * (1 + i % 2) for i, c in enumerate(reversed(digits)))
    return sum(d - 9 * (d > 9) for d in doubled) % 10 == 0  # noqa: PLR2004 - digits
