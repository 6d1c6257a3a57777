"""Sources are found by whatever names them, and the nearest word on each setting counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.sources._project import Project, project_from, read_project, save_settings
from coeval.timeline.sources._resolve import resolve
from coeval.timeline.sources._rules import parse_pair
from coeval.timeline.sources._said import is_named, parse_duration, parse_source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("web1.log", "web2.log", "db.csv", "logs/web1.log", "logs/.hidden", "run/run.json", "run/spool.1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("specs", "found"),
    [
        (["db.csv"], [("db.csv", "db.csv", "file")]),
        (["web*.log"], [("web1.log", "web1.log", "file"), ("web2.log", "web2.log", "file")]),
        (["web1.log", "./web1.log", "web1*"], [("web1.log", "web1.log", "file")]),
        (["web1.log", "logs"], [("web1.log", "web1.log", "file"), ("logs/web1.log", "logs/web1.log", "file")]),
        (["run"], [("run", "run", "run")]),
        (
            ["ru*", "run/*"],
            [("run", "run", "run"), ("run.json", "run/run.json", "file"), ("spool.1", "run/spool.1", "file")],
        ),
        (["**/*.csv"], [("db.csv", "db.csv", "file")]),
        (["-"], [("stdin", "-", "stdin")]),
        (["s3://b/x/web.log"], [("web.log", "s3://b/x/web.log", "url")]),
        (["postgresql://u:p=w@h/db:time=at"], [("db", "postgresql://u:p=w@h/db", "url")]),
    ],
)
def test_files_patterns_folders_runs_and_urls_are_found(specs: list[str], found: list[tuple[str, str, str]]) -> None:
    assert [(source.name, source.path, source.kind) for source in resolve(specs)] == found


@pytest.mark.usefixtures("folder")
def test_what_is_not_there_is_said_with_what_is_near() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file 'web3\.log'; is web\d\.log meant\?"):
        resolve(["web3.log"])
    with pytest.raises(FileNotFoundError, match=r"no file is meant by 'x\*\.log'"):
        resolve(["x*.log"])
    with pytest.raises(ValueError, match=r"means none of the sources db\.csv"):
        resolve(["db.csv"], said=["web*:tz=UTC"])
    with pytest.raises(ValueError, match="says nothing"):
        resolve(["db.csv"], said=["web*"])


def test_a_file_is_read_once_by_whichever_names_and_the_others_are_kept(folder: Path) -> None:
    (folder / "same.log").symlink_to("web1.log")
    (folder / "hard.log").hardlink_to("web1.log")
    [source] = resolve(["web1.log", "same.log", "./web1.log", "hard.log", str(folder / "web1.log")])
    assert (source.name, source.also) == ("web1.log", ("same.log", "hard.log"))
    [source] = resolve(["web1.log", "./web1.log:clock=web"])
    assert (source.clock, source.also) == ("web", ())


@pytest.mark.usefixtures("folder")
def test_a_setting_that_is_none_is_no_part_of_a_file_s_name() -> None:
    with pytest.raises(ValueError, match="has a setting 'zzz', which is none: there are"):
        resolve(["web1.log:zzz=3"])
    with pytest.raises(FileNotFoundError, match=r"no file 'nope\.log:zzz=3'"):
        resolve(["nope.log:zzz=3"])


@pytest.mark.usefixtures("folder")
def test_the_nearest_word_on_a_setting_counts() -> None:
    project = project_from(
        {
            "source": {
                "*.log": {"tz": "UTC", "reader": "nginx", "unit": "ms", "pattern": "mine"},
                "web*": {"reader": "log4j"},
            },
            "patterns": {"mine": r"(?P<time>\S+)"},
        }
    )
    sources = resolve(
        ["web1.log:clock=w", "web2.log", "db.csv"],
        project,
        ["web*:tz=Europe/Berlin,year=2026", "web2*:year=2025"],
        SourceSettings(unit="s", resolution_ns=7),
    )
    first, second, third = (source.settings for source in sources)
    assert first == SourceSettings(
        "log4j", "w", zone="Europe/Berlin", unit="ms", pattern=r"(?P<time>\S+)", year=2026, resolution_ns=7
    )
    assert (second.year, second.clock, sources[1].clock) == (2025, "", "web2.log")
    assert third == SourceSettings(unit="s", resolution_ns=7)


def test_settings_stand_behind_a_colon_and_need_no_quotes() -> None:
    assert parse_source("web*.log:tz=Europe/Berlin,clock=web") == (
        "web*.log",
        {"zone": "Europe/Berlin", "clock": "web"},
    )
    assert parse_source(r"a.log:pattern=(?P<time>\d+), (?P<x>a=b),resolution=1ms") == (
        "a.log",
        {"pattern": r"(?P<time>\d+), (?P<x>a=b)", "resolution_ns": 10**6},
    )
    query = "select at, who as w from log where a = 1, b = 2"
    assert parse_source(f"postgresql://h:1/d:query={query},time=at") == (
        "postgresql://h:1/d",
        {"query": query, "time": "at"},
    )
    assert parse_source("odd:name.log") == ("odd:name.log", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:tzz=UTC", "'tzz', which is none: is tz meant?"),
        ("a:zone=UTC", "'zone', which is none: is tz meant?"),
        ("a:tz=UTC,clok=web", "'clok', which is none: is clock meant?"),
        ("a:unit=min", "unit is 'min'; expected s, ms, us or ns"),
        ("a:year=26", "expected a year"),
        ("a:tz=", "expected some text"),
        ("a:resolution=1", "expected a number and a unit"),
        ("a:assume_utc=maybe", "expected true or false"),
        ("a:smear=48h", "expected 24h-noon"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_source(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources.a]", "has a table 'sources', which is none: is source meant?"),
        ('[source."a"]\nzone = "UTC"', "setting 'zone', which is none"),
        ('[source."a"]\ntz = 1', "tz is 1; expected text in quotes"),
        ("[rates]\nweb = true", "web is True; expected a number of ppm"),
        ('[clocks]\nweb = "3.2"', "does not say a clock's offset"),
        ('[pairs.id]\nordre = "a,b"', "'ordre', which is none: is order meant?"),
        ("[pairs.id]", "does not say which way requests go"),
        ("[source", "is no TOML file"),
        ("patterns = 1", "expected a table, [patterns]"),
    ],
)
def test_a_project_file_that_says_what_nobody_knows_is_refused_with_the_nearest(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "coeval.toml").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_project(tmp_path / "coeval.toml")
    assert (said in str(caught.value) and "coeval.toml" in str(caught.value)) or "offset" in said


def test_no_project_file_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_project() == Project()
    with pytest.raises(FileNotFoundError):
        read_project("other.toml")


def test_what_was_said_is_kept_in_the_project_file_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "coeval.toml"
    path.write_text('# mine\n[source."web*.log"]\ntz = "UTC"  # old\n\n[rates]\nweb = 7 # ppm\n')
    sources = [
        parse_source(r"web*.log:tz=Europe/Berlin,pattern=(?P<time>\d+),resolution=5ms"),
        parse_source("b:assume_utc=yes"),
    ]
    pair = parse_pair("id:order=web>app,answered=event=done,late=5ms")
    for _ in range(2):  # a second time changes nothing
        save_settings(path, sources, ["web = +3.2s±0.1s@db"], [pair], {"app": 500.0})
        text = path.read_text()
        assert text.startswith('# mine\n[source."web*.log"]\ntz = "Europe/Berlin"\n')
        assert "web = 7 # ppm" in text
        project = read_project(path)
        assert project.sources == tuple((name, said) for name, said in sources)
        assert project.pairs == (pair,) and project.rates_ppm == {"web": 7.0, "app": 500.0}
        assert [(claim.clock, claim.other) for claim in project.claims] == [("web", "db")]
    path.write_text('source = {"a" = {tz = "UTC"}}\n')
    with pytest.raises(ValueError, match="left as it is; put in by hand"):
        save_settings(path, [parse_source("a:tz=Asia/Tokyo")])
    assert path.read_text() == 'source = {"a" = {tz = "UTC"}}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id", "does not say which way requests go"),
        ("id:sent=kind=a", "does not say who received"),
        ("id:order=web>app,sent=kind=a", "says both"),
        ("id:order=web", "expected two clocks or more"),
        ("id:sent=kind,received=a=b", "is no condition"),
        ("id:sent=kind=a,received=b=c,answered=end", "answered needs an order"),
        (r"m~(\d)(\d):order=a>b", "has 2 groups"),
        (r"m~(\d:order=a>b", "is no regular expression"),
        (":order=a>b", "names no column"),
    ],
)
def test_a_pair_that_proves_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_pair(text)
    assert said in str(caught.value)


def test_durations_and_names_are_read() -> None:
    assert [parse_duration(text) for text in ("5ms", "0.1 s", "1.5ns", "0", "2min")] == [
        5_000_000,
        10**8,
        2,
        0,
        120 * 10**9,
    ]
    assert is_named("web", "web.log") and is_named("web*", "a/web1.log") and is_named("web.log", "web.log")
    assert not is_named("web", "web1.log")


def test_a_folder_means_its_logs_and_not_what_merges_keep_beside_them(tmp_path: Path) -> None:
    for name in ("web.log", "coeval.toml", "all.parquet.set-aside.jsonl", ".hidden"):
        (tmp_path / name).write_text("2026-11-05T12:00:00Z x\n")
    assert [source.name for source in resolve([str(tmp_path)])] == ["web.log"]
    named = resolve([str(tmp_path / "all.parquet.set-aside.jsonl")])
    assert [source.name for source in named] == ["all.parquet.set-aside.jsonl"]


def test_what_merges_keep_beside_the_logs_is_no_source_of_a_wildcard_unless_that_names_it(tmp_path: Path) -> None:
    for name in ("web.jsonl", "all.parquet.set-aside.jsonl"):
        (tmp_path / name).write_text("")
    assert [Path(each.path).name for each in resolve([f"{tmp_path}/*.jsonl"])] == ["web.jsonl"]
    named = resolve([f"{tmp_path}/*.set-aside.jsonl"])
    assert [Path(each.path).name for each in named] == ["all.parquet.set-aside.jsonl"]
