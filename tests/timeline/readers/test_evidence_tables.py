"""Tables of messages and anchors: every good row arrives, every bad one is counted with its place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.clocks import Anchor, ClockId
from coeval.errors import WrongTable
from coeval.timeline.readers import MessageTable, SetAside, SetAsideRow, Tabular, read_anchors, read_messages

HEADER = "sender,receiver,sent_ns,received_ns\n"
GOOD = "a,b,1,2\n"


def read(*tables: Tabular) -> tuple[MessageTable, list[SetAsideRow]]:
    aside: list[SetAsideRow] = []
    return read_messages(tables, SetAside(aside.append)), aside


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows(table: MessageTable) -> list[tuple[str, str, int, int]]:
    messages = table.messages
    found = (messages[index] for index in range(len(messages)))
    return [(message.sender, message.receiver, message.sent_ns, message.received_ns) for message in found]


BAD_LINES = [
    "a,b,x,2",
    ",b,1,2",
    "a,b,1",
    "a,b,1,2,3",
    "a,b,,2",
    "a,b,1,9223372036854775808",
    "a,b,5000000000000000000,2",
]


@settings(deadline=None)  # the first one imports Arrow
@given(st.lists(st.sampled_from([*BAD_LINES, "", "a,b,{n},{n}", "b,a,{n},7"]), min_size=1, max_size=40))
def test_read_is_used_and_set_aside_each_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    lines = ["a,b,1,1", *(line.format(n=number) for number, line in enumerate(lines, 3))]
    path = written(tmp_path_factory.mktemp("m") / "calls.csv", HEADER + "\n".join(lines) + "\n")
    table, aside = read(path)
    numbered = list(enumerate(lines, 2))
    assert [row.number for row in sorted(aside, key=lambda row: row.number)] == [
        number for number, line in numbered if line in BAD_LINES
    ]
    good = [(number, line) for number, line in numbered if line and line not in BAD_LINES]
    assert rows(table) == [(c[0], c[1], int(c[2]), int(c[3])) for c in (line.split(",") for _, line in good)]
    assert table.read == len(table.messages) + len(aside)
    assert table.messages.ids is not None
    assert list(table.messages.ids) == [f"calls.csv line {number}" for number, _ in good]


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: pa.compress(data, "zstd", asbytes=True),
    ],
    ids=["plain", "gz", "bz2", "xz", "zst"],
)
@pytest.mark.parametrize("is_parquet", [False, True], ids=["csv", "parquet"])
def test_a_file_is_what_its_first_bytes_say(tmp_path: Path, pack: Callable[[bytes], bytes], is_parquet: bool) -> None:
    data = (HEADER + GOOD).encode()
    if is_parquet:
        sheet = io.BytesIO()
        pq.write_table(pa.table({"sender": ["a"], "receiver": ["b"], "sent_ns": [1], "received_ns": [2]}), sheet)
        data = sheet.getvalue()
    path = tmp_path / "calls.whatever"
    path.write_bytes(pack(data))
    table, aside = read(path)
    assert (rows(table), aside) == ([("a", "b", 1, 2)], [])


def test_a_file_that_was_cut_off_is_used_as_far_as_it_goes_and_said_to_be_damaged(tmp_path: Path) -> None:
    lines = "".join(f"a,b,{n},{n + 5},{'-' * 60}\n" for n in range(200_000))
    whole = gzip.compress((HEADER.replace("\n", ",note\n") + lines).encode(), compresslevel=1)
    path = tmp_path / "calls.csv.gz"
    path.write_bytes(whole[: len(whole) * 9 // 10])
    table, aside = read(path)
    assert 170_000 < len(table.messages) < 190_000
    assert (table.messages.received_ns - table.messages.sent_ns == 5).all()
    assert not aside
    assert [problem for problem in table.problems if "calls.csv.gz is damaged" in problem] == list(table.problems) != []


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_the_byte_order_mark_spaces_and_other_columns_do_not_matter(
    tmp_path: Path, separator: str
) -> None:
    lines = ["note,received_ns , sent_ns,receiver,sender", '"x ""y""", 2,1,b, a']
    path = tmp_path / "calls.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).replace(",", separator).encode())
    assert rows(read(path)[0]) == [("a", "b", 1, 2)]


def test_several_tables_share_their_clocks_and_keep_their_places(tmp_path: Path) -> None:
    first = written(tmp_path / "first.csv", HEADER + GOOD)
    second = written(tmp_path / "second.csv", "id," + HEADER + "q7,b,a,3,4\n,b,c,5,6\n")
    table, _ = read(first, second)
    assert rows(table) == [("a", "b", 1, 2), ("b", "a", 3, 4), ("b", "c", 5, 6)]
    assert table.messages.clocks == ("a", "b", "c")
    assert table.messages.ids is not None
    assert table.messages.ids[:] == ["first.csv line 2", "q7", "second.csv line 3"]
    assert table.place(2) == "second.csv line 3"


def test_optional_columns_are_used_and_what_they_do_not_say_is_known(tmp_path: Path) -> None:
    text = "sender,receiver,sent_ns,received_ns,sender_resolution_ns,receiver_resolution_ns,delay_ns_min,hard\n"
    text += "a,b,1,2,1000,,5,false\na,b,1,2,,0,,\na,b,1,2,-1,0,,\n"
    table, aside = read(written(tmp_path / "calls.csv", text))
    messages = table.messages
    assert messages.sender_resolution_ns.tolist() == [1000, 0]
    assert (table.sender_given.tolist(), table.receiver_given.tolist()) == ([True, False], [False, True])
    assert (messages.delay_ns_min.tolist(), messages.hard.tolist()) == ([5, 0], [False, True])
    assert [(row.place, row.reason) for row in aside] == [("calls.csv line 4", "sender_resolution_ns is negative")]
    assert aside[0].values["sender_resolution_ns"] == "-1"


class ArrowStream:
    """Offers the Arrow interface and nothing else, as a table of some other library."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_anything_with_the_arrow_interface_and_any_mapping_of_columns_is_a_table() -> None:
    columns: dict[str, Any] = {
        "sender": ["a", None], "receiver": ["b", "b"], "sent_ns": [1, 5], "received_ns": [2, 6]
    }  # fmt: skip
    for table in (columns, pa.table(columns), ArrowStream(pa.table(columns))):
        found, aside = read(table)
        assert rows(found) == [("a", "b", 1, 2)]
        assert [(row.place, row.reason) for row in aside] == [("messages row 2", "sender is missing")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; expected a CSV file"),
        ("\n\n", "does not begin with a line of column names"),
        (
            "sender,receiver,sent_ns,recieved_ns\n",
            "has no column received_ns; it has sender, receiver, sent_ns, recieved_ns",
        ),
        ("sender,receiver,sent_ns,recieved_ns\n", "is recieved_ns meant?"),
        (HEADER.replace("receiver", "sender"), "several columns named sender"),
        (HEADER + "a,b,1700000000.5,1700000001.5\n", "column sent_ns of calls.csv holds '1700000000.5'"),
        (HEADER + "a,b,2026-11-22T19:14:21Z,5\n", "expected are whole nanoseconds"),
        (HEADER + "a,utc,1,2\n", "give it another name"),
    ],
)
def test_what_is_no_table_of_messages_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WrongTable) as caught:
        read(written(tmp_path / "calls.csv", text))
    assert said in str(caught.value)


def test_what_is_no_table_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="messages is int; expected a path"):
        read(7)
    with pytest.raises(WrongTable, match="is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.csv")
    with pytest.raises(WrongTable, match="different lengths"):
        read({"sender": ["a"], "receiver": ["b", "c"]})
    with pytest.raises(WrongTable, match="column sent_ns of messages is double"):
        read({"sender": ["a"], "receiver": ["b"], "sent_ns": [1.5], "received_ns": [2]})


def test_anchors_that_end_before_they_begin_are_set_aside(tmp_path: Path) -> None:
    text = "clock,reading_ns,earliest_ns,latest_ns,source\na,1,10,20,ntp1\na,2,30,20,ntp2\nb,3,5,5,\n"
    aside = SetAside()
    anchors, read_count, problems = read_anchors(written(tmp_path / "anchors.csv", text), aside)
    assert anchors == [Anchor(ClockId("a"), 1, 10, 20, "ntp1"), Anchor(ClockId("b"), 3, 5, 5, "anchors.csv")]
    assert (read_count, problems) == (3, ())
    assert [(row.place, row.reason) for row in aside.examples] == [
        ("anchors.csv line 3", "earliest_ns is after latest_ns")
    ]
