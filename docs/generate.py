# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write what can be derived from the code: the README of each role, docs/variables.md, and the tables of README.md between their marks.

`generate.py --check` writes nothing and fails, naming the files, where they are out of date.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "bench"))
import results as bench_results

PLAYBOOKS = {"mlflow_job": "playbooks/training.yml"}  # of roles that are no stage of site.yml


def main() -> int:
    pages = {**role_pages(), ROOT / "docs/variables.md": shared_page(), ROOT / "README.md": main_page()}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
    return 0


def role_pages() -> dict[Path, str]:
    return {role / "README.md": role_page(role) for role in roles()}


def roles() -> list[Path]:
    return sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def entries(role: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"])


def role_page(role: Path) -> str:
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8")) or {} if (role / "defaults/main.yml").exists() else {}
    lines = [f"<!-- Written by docs/generate.py from meta/argument_specs.yml; edit that. -->\n# slipway.mlops.{role.name}\n"]
    specs = entries(role)
    for name, entry in specs.items():
        if name != "main":
            lines.append(f"## Entry point `{name}`: {sentence(entry.get('short_description', ''))}\n")
        else:
            lines.append(f"{sentence(entry.get('short_description', ''))}\n")
        lines += [text + "\n" for text in paragraphs(entry.get("description"))]
        options = {key: value for key, value in (entry.get("options") or {}).items() if name == "main" or key not in (specs["main"].get("options") or {})}
        if options:
            lines += [*option_table({key: {**value, "default": defaults.get(key, value.get("default"))} for key, value in options.items()}), ""]
    lines.append(f"```shell\nansible-playbook {PLAYBOOKS.get(role.name, 'site.yml')} -i INVENTORY --tags {role.name}\n```")
    return "\n".join(lines) + "\n"


def shared_page() -> str:
    """The variables that no single role has; `inventory_check` reads the same file."""
    options = yaml.safe_load((ROOT / "playbooks/vars/shared.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    head = "<!-- Written by docs/generate.py from playbooks/vars/shared.yml; edit that. -->\n# Variables that roles and playbooks share\n"
    text = "For `group_vars/all`, but `slipway_node_name`, which is a host's own. What a single role reads is in the README of that role.\n"
    return "\n".join([head, text, *option_table(options)]) + "\n"


def option_table(options: dict[str, Any]) -> list[str]:
    rows = [row for key, value in sorted(options.items()) for row in option_rows(key, value, value.get("default"))]
    return ["| variable | type | default | meaning |", "|---|---|---|---|", *rows]


def option_rows(name: str, spec: dict[str, Any], default: Any, depth: int = 0) -> list[str]:
    kind = spec.get("type", "str") + (f" of {spec['elements']}" if spec.get("elements") else "")
    shown = "**required**" if spec.get("required") else "" if default is None else code(default)
    text = " ".join(paragraphs(spec.get("description")))
    if spec.get("choices"):
        text += " One of " + ", ".join(f"`{choice}`" for choice in spec["choices"]) + "."
    indent = "&nbsp;&nbsp;" * depth + ("." if depth else "")
    rows = [f"| {indent}`{name}` | {kind} | {shown} | {cell(text)} |"]
    for key, value in (spec.get("options") or {}).items():
        rows += option_rows(key, value, value.get("default"), depth + 1)
    return rows


def main_page() -> str:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    tables = {"roles": role_table(), "modules": module_table(), "measured": measured_table(), "long tests": long_table()}
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, table=table: match[1] + table + match[2], text)
    return text


def role_table() -> str:
    rows = [f"| [`{role.name}`](roles/{role.name}/README.md) | {cell(sentence(entries(role)['main'].get('short_description', '')))} |\n" for role in roles()]
    return "| role | what it makes sure of |\n|---|---|\n" + "".join(rows)


def module_table() -> str:
    rows = []
    for path in sorted(ROOT.glob("plugins/modules/*.py")):
        match = re.search(r'DOCUMENTATION = r?"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL)
        if match:
            rows.append(f"| `{path.stem}` | {cell(sentence(yaml.safe_load(match[1])['short_description']))} |\n")
    return "| module | what it does |\n|---|---|\n" + "".join(rows)


def measured_table() -> str:
    """Every ratio that was asked for, as bench/ measured it, also those that fall short and those that nobody has measured."""
    lines = ["| measured side by side | times better | asked for | | when, by |", "|---|---|---|---|---|"]
    measured: set[str] = set()
    for path in sorted(ROOT.glob("bench/results/*.json")):
        bench = json.loads(path.read_text(encoding="utf-8"))
        measured |= {ratio["name"] for ratio in bench["ratios"]}
        for ratio in bench["ratios"]:
            if ratio["wanted"] is not None:
                verdict = "holds" if ratio["holds"] else "**falls short**"
                figures = f"{ratio['measured']:.2f} | {ratio['wanted']:g} | {verdict}"
                lines.append(f"| {cell(ratio['name'])} | {figures} | {bench['date'][:10]}, `{cell(bench['command'])}` |")
    lines += [f"| {cell(name)} | | {least:g} | **not measured** | `{cell(command)}` |" for name, least, command in bench_results.missing(measured)]
    return "\n".join(lines) + "\n"


def long_table() -> str:
    """What `make test-long` came to when it last ran, by area, and how many tests have never come to a result."""
    areas: dict[str, list[dict[str, Any]]] = {}
    known = json.loads((ROOT / "docs/long-tests.json").read_text(encoding="utf-8"))
    for name, result in known.items():
        if is_there(name):
            areas.setdefault(name.split("/")[2], []).append(result)
    untried = long_tests() - {name.partition("[")[0] for name in known}
    lines = ["| area | passed | failed | skipped | never recorded | minutes | last run |", "|---|---|---|---|---|---|---|"]
    for area, results in sorted(areas.items()):
        counts = " | ".join(str(sum(result["outcome"] == outcome for result in results)) for outcome in ("passed", "failed", "skipped"))
        counts += f" | {sum(name.split('/')[2] == area for name in untried)}"
        lines.append(f"| {area} | {counts} | {sum(result['seconds'] for result in results) / 60:.0f} | {max(result['date'] for result in results)} |")
    return "\n".join(lines) + "\n"


def long_tests() -> set[str]:
    """Node ids of the functions that bear the mark `long`, or whose file or class does. Which cases their parameters make only pytest knows."""
    found = set()
    for path in ROOT.glob("tests/integration/**/test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        marks = [ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"]
        for place, node in [("", node) for node in tree.body] + [
            (f"{one.name}::", node) for one in tree.body if isinstance(one, ast.ClassDef) for node in one.body
        ]:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                own = [ast.unparse(decorator) for decorator in node.decorator_list]
                if any(re.search(r"\bmark\.long\b", mark) for mark in [*marks, *own] if not mark.startswith("pytest.mark.parametrize")):
                    found.add(f"{path.relative_to(ROOT)}::{place}{node.name}")
    return found


def is_there(test: str) -> bool:
    """Whether a test of this node id still exists. Which cases its parameters make only pytest knows."""
    path, _colons, name = test.partition("[")[0].partition("::")
    name = name.rpartition("::")[2]
    return (ROOT / path).exists() and re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) is not None


def paragraphs(text: Any) -> list[str]:
    parts = text if isinstance(text, list) else [text] if text else []
    # Ansible's markup C(x), O(x), V(x), I(x), B(x), M(x), R(x, y) as Markdown.
    return [re.sub(r"\b[COVIBMU]\(([^)]*)\)", r"`\1`", sentence(" ".join(str(part).split()))) for part in parts]


def sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", ":", "!", "?")) else text + "."


def code(value: Any) -> str:
    if value in ("", [], {}):
        return "empty"
    text = yaml.safe_dump(value, default_flow_style=True, width=10000, sort_keys=False).removesuffix("\n...\n").strip() if not isinstance(value, str) else value
    text = " ".join(text.split())
    return f"`{cell(text if len(text) <= 80 else text[:77] + '...')}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
