"""Elements of a page as text: what stands in them is escaped, unless it is an element itself."""

from html import escape


class Html(str):
    """Text that is HTML already."""


def element(name: str, *inside: str, **attributes: object) -> Html:
    """<name attributes>inside</name>. `class_` is class, `data_x` data-x; True is an attribute alone, None and False none."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in ("img", "input") else f"{opening}{joined(inside)}</{name}>")


def joined(parts: tuple[str, ...] | list[str]) -> Html:
    """The parts one after another, text escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def number(value: float, digits: int = 3) -> Html:
    """A number to some significant digits, with a true minus sign, and a power of ten where there is one."""
    mantissa, _, exponent = f"{value:.{digits}g}".replace("-", "−").partition("e")
    if not exponent:
        return Html(mantissa)
    power = exponent.lstrip("+").replace("−0", "−").lstrip("0")
    return joined([mantissa, Html(" × 10"), element("sup", power)])
