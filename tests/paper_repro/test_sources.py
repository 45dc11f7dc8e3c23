"""The digest of an item is that of what it reaches: each file is edited once, in a copy."""

import functools
import re
import shutil

import pytest

from paper_repro import runner, sources

STATEMENT = re.compile(
    r"^ *(?:from (?P<module>[\w.]+) import (?P<names>\([^)]*\)|[^\n]*)|import (?P<plain>[^\n]+))",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what digests are made of."""
    folder = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    for package in sources.PACKAGES:
        shutil.copytree(sources.ROOT / package, folder / package, ignore=ignore)
    return folder


def file_of(module, root):
    path = root.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def statements(text):
    """(module, names or None) of each import, by pattern; what only a checker reads left out."""
    checked = re.sub(r"^if TYPE_CHECKING:\n(?:(?: +[^\n]*)?\n)+", "", text, flags=re.MULTILINE)
    checked = re.sub(r'r?"""(?:.|\n)*?"""', "", checked)
    for found in STATEMENT.finditer(checked):
        if found["plain"]:
            yield found["plain"].split(" as ")[0], None
        else:
            names = re.sub(r"#[^\n]*|[()]", "", found["names"]).split(",")
            yield found["module"], [n.split(" as ")[0].strip() for n in names if n.strip()]


def by_pattern(module, root):
    """The files that a module reaches, found without a syntax tree; data are not among them."""
    files, wanted = set(), [(module, None)]
    while wanted:
        name, taken = wanted.pop()
        path = file_of(name, root)
        if path is None or (path, taken) in files:
            continue
        files.add((path, taken))
        for source, names in statements(path.read_text()):
            if source.split(".")[0] not in sources.PACKAGES:
                continue
            if names is None:
                wanted.append((source, None))
            for one in names or ():
                if taken is not None and path.name == "__init__.py" and one != taken:
                    continue
                inner = file_of(f"{source}.{one}", root)
                wanted.append((f"{source}.{one}", None) if inner else (source, one))
    return {path for path, _ in files}


def digests(root):
    return {name: sources.digest(f"paper_repro.items.{name}", root) for name in runner.ITEMS}


def test_what_is_reached_agrees_with_another_reading(tree):
    for name in runner.ITEMS:
        reached = {
            p for p in sources.reached(f"paper_repro.items.{name}", tree) if p.suffix == ".py"
        }
        assert reached == by_pattern(f"paper_repro.items.{name}", tree), name


def test_each_edit_moves_the_digests_of_the_items_that_rest_on_it(tree, monkeypatch):
    # A comment at a file's end changes no import: what is reached is found once an item.
    monkeypatch.setattr(sources, "reached", functools.cache(sources.reached))
    before = digests(tree)
    assert len(set(before.values())) == len(runner.ITEMS)
    reach = {name: by_pattern(f"paper_repro.items.{name}", tree) for name in runner.ITEMS}
    for path in sorted(tree.rglob("*.py")):
        kept = path.read_bytes()
        path.write_bytes(kept + b"# edited\n")
        after = digests(tree)
        path.write_bytes(kept)
        moved = {name for name in runner.ITEMS if after[name] != before[name]}
        assert moved == {name for name, files in reach.items() if path in files}, path
    assert digests(tree) == before


@pytest.mark.parametrize(
    ("data", "items"),
    [
        ("paper_repro/paper/table2_proofpile_perplexity.csv", {"tables", "finetune"}),
        ("paper_repro/paper/prompts.json", {"fig3", "fig4"}),
        ("paper_repro/small_scale/readings/*.json", {"finetune"}),
        ("paper_repro/scratch_models/*/training.csv", {"scratch"}),
        ("paper_repro/scratch_models/*/model.safetensors", {"scratch"}),
    ],
)
def test_each_data_file_moves_the_items_that_read_it(tree, data, items):
    before = digests(tree)
    path = next(iter(tree.glob(data)))
    kept = path.read_bytes()
    path.write_bytes(kept + b"\n")
    after = digests(tree)
    path.write_bytes(kept)
    assert {name for name in runner.ITEMS if after[name] != before[name]} == items


def test_names_that_swap_their_contents_are_seen(tree):
    """Contents alone would not tell: paths are part of the digest."""
    before = sources.digest("paper_repro.items.tables", tree)
    one, two = sorted((tree / "paper_repro/paper").glob("*.csv"))[:2]
    kept = one.read_bytes(), two.read_bytes()
    one.write_bytes(kept[1])
    two.write_bytes(kept[0])
    after = sources.digest("paper_repro.items.tables", tree)
    one.write_bytes(kept[0])
    two.write_bytes(kept[1])
    assert after != before


def test_bad_modules_and_patterns_are_refused(tree):
    with pytest.raises(ValueError, match="module must be one of pianalysis and paper_repro, got"):
        sources.digest("numpy", tree)
    path = tree / "paper_repro" / "tables.py"
    kept = path.read_text()
    path.write_text(kept.replace("*.csv", "*.cvs"))
    with pytest.raises(ValueError, match=r"DATA of paper_repro\.tables must name files"):
        sources.digest("paper_repro.items.tables", tree)
    path.write_text(kept)
