import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.lines import KeyPath, lines_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = '''# a comment with [brackets] and key = 1
[gate] # x
port = "a#b"
text = """x
""y" \\
key = 1
z""""
list = [ # c
  "a", # ]
  [1, 2],
  {a.b = 1, "q\\u0041" = 'x'},
]
a.b.c = 1979-05-27 07:32:00
a."d e" = 5

[inspector.archive]
k = \'\'\'
[not.a.table]
\'\'\'
[inspector]
[[inspector.camera]]
name = "x"
[inspector.camera.z]
k=1
[[inspector.camera]]
name = "y"
[[inspector.camera.sub]]
q=1
[[inspector.camera.sub]]
q=2
'''
EXPECTED = {
    ("gate",): 2,
    ("gate", "port"): 3,
    ("gate", "text"): 4,
    ("gate", "list"): 8,
    ("gate", "list", 0): 9,
    ("gate", "list", 1): 10,
    ("gate", "list", 1, 1): 10,
    ("gate", "list", 2, "a", "b"): 11,
    ("gate", "list", 2, "qA"): 11,
    ("gate", "a", "b", "c"): 13,
    ("gate", "a", "d e"): 14,
    ("inspector", "archive"): 16,
    ("inspector", "archive", "k"): 17,
    ("inspector",): 20,
    ("inspector", "camera", 0): 21,
    ("inspector", "camera", 0, "z", "k"): 24,
    ("inspector", "camera", 1, "name"): 26,
    ("inspector", "camera", 1, "sub", 0, "q"): 28,
    ("inspector", "camera", 1, "sub", 1, "q"): 30,
}


def paths_in(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every key and list entry that the TOML reader found."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return {found for part, below in inner for found in ((*path, part), *paths_in(below, (*path, part)))}


def test_every_key_has_the_line_that_it_stands_on() -> None:
    found = lines_of(DOCUMENT)
    assert {path: found.get(path) for path in EXPECTED} == EXPECTED
    assert set(found) == paths_in(tomllib.loads(DOCUMENT))


def test_line_ends_of_windows_count_once() -> None:
    assert lines_of(DOCUMENT.replace("\n", "\r\n")) == lines_of(DOCUMENT)


def test_a_text_that_ends_anywhere_gives_what_stands_before_the_end() -> None:
    whole = lines_of(DOCUMENT)
    for end in range(len(DOCUMENT)):
        cut = lines_of(DOCUMENT[:end])
        assert all(line <= DOCUMENT.count("\n", 0, end) + 1 for line in cut.values())
        assert all(whole[path] >= line for path, line in cut.items() if path in whole)


NAMES = st.sampled_from(["a", "b-c", "D_1", '"e f"', "'g.h'", '"\\u0069"', "1"])
SPACE = st.sampled_from(["", " ", "\t", "  "])
FILLER = st.sampled_from(["", "\n", "  # x = [1\n", '# "\n\n'])
STRINGS = st.sampled_from(
    ['"x"', "'y'", '""', '"#"', '"\\""', "'''\n[t]\nk = 1\n'''", '"""a\n""b"""', '"""""x"""""', "''''q'''", '"""\\\n  z"""']
)
PLAIN = st.sampled_from(["1", "-1.5e3", "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "0x_ff".replace("_", ""), "inf"])
VALUES = st.recursive(
    STRINGS | PLAIN,
    lambda inner: (
        st.builds(lambda gap, values: f"[{gap}{f',{gap}'.join(values)}{gap}]", FILLER, st.lists(inner, max_size=3))
        | st.builds(
            lambda pairs: f"{{{', '.join(f'{name} = {value}' for name, value in pairs)}}}", st.lists(st.tuples(NAMES, inner), max_size=2)
        )
    ),
    max_leaves=4,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[int, str]]:
    """A text, and which line begins with which key."""
    text, marks = "", {}
    for number in range(draw(st.integers(1, 8))):
        text += draw(FILLER)
        mark, space = f"mark{number}", draw(SPACE)
        if draw(st.booleans()):
            dots = draw(st.lists(NAMES, max_size=2))
            text += f"{space}{f'{space}.{space}'.join([mark, *dots])}{space}={space}{draw(VALUES)}{space}# end\n"
            marks[text.rstrip("\n").count("\n", 0, text.rindex(mark)) + 1] = mark
        else:
            left, right = draw(st.sampled_from([("[", "]"), ("[[", "]]")]))
            text += f"{left}{space}{'.'.join([draw(NAMES), mark] if draw(st.booleans()) else [draw(NAMES)])}{space}{right}\n"
    return text, marks


@settings(max_examples=150, deadline=None)
@given(documents())
def test_whatever_the_reader_accepts_has_the_same_keys_here(document: tuple[str, dict[int, str]]) -> None:
    text, marks = document
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        lines_of(text)
        return
    found = lines_of(text)
    assert set(found) == paths_in(tables)
    by_mark = {path[-1]: line for path, line in sorted(found.items(), key=lambda item: -len(item[0])) if str(path[-1]).startswith("mark")}
    assert all(by_mark[mark] == line for line, mark in marks.items())
