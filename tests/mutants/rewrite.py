"""Puts all mutants into one copy of the sources, each behind a switch that is read when the program runs.

To those of cargo-mutants it adds deleted statements: our matches have no `_` arm that it could let take over, and most of
what a step does is assignments.

usage: rewrite.py LIST COPY    LIST: of `cargo mutants --list --json`; COPY: a copy of the repository

Writes COPY/mutants.json: the mutants that compile, and the others with the compiler's reason.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import tree_sitter_rust
from tree_sitter import Language, Parser

SWITCH = """
/// Whether this run is one of mutant `n`. With `MUTANT_TRACE` set: which mutants it comes past, one line each.
#[doc(hidden)]
pub fn mutant(n: usize) -> bool {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static CHOSEN: OnceLock<Option<usize>> = OnceLock::new();
    static TRACE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    static PASSED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
    let chosen = *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().map(|n| n.parse().unwrap()));
    if let Some(path) = TRACE.get_or_init(|| std::env::var_os("MUTANT_TRACE").map(Into::into))
        && !PASSED[n].swap(true, Ordering::Relaxed)
    {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(format!("{n}\\n").as_bytes()).unwrap();
    }
    chosen == Some(n)
}
"""
# Programs that tests start must know the number too.
CLEARED = ".env_clear()"
KEPT = '.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MUTANT")))'

PARSER = Parser(Language(tree_sitter_rust.language()))


class File:
    """One source file, with the places where text is put in."""

    def __init__(self, path):
        self.path = path
        self.source = path.read_bytes()
        self.root = PARSER.parse(self.source).root_node
        self.lines = self.source.decode().split("\n")

    def offset(self, position):
        """The byte at cargo-mutants' line and column, which count characters from 1."""
        before = self.lines[: position["line"] - 1]
        inside = self.lines[position["line"] - 1][: position["column"] - 1]
        return sum(len(line.encode()) + 1 for line in before) + len(inside.encode())

    def text(self, start, end):
        return self.source[start:end].decode()

    def around(self, start, end, kinds):
        """The smallest node of one of these kinds that covers the span."""
        node = self.root.descendant_for_byte_range(start, end)
        while node is not None and node.type not in kinds:
            node = node.parent
        return node


def place(file, mutant):
    """How and where a mutant goes in, and its own text; `None` where it could not compile."""
    start, end = (file.offset(mutant["span"][side]) for side in ("start", "end"))
    n, new, genre = mutant["id"], mutant["replacement"], mutant["genre"]
    if genre == "FnValue":
        function = file.around(start, end, {"function_item"})
        body, returned = (function.child_by_field_name(name) for name in ("body", "return_type"))
        if new.startswith("::std::iter::") and b"impl " in returned.text:
            return None  # A function returns one type of iterator.
        return "insert", body.start_byte + 1, f" if crate::mutant({n}) {{ return {new}; }}"
    if genre == "MatchArm":
        pattern = file.around(start, end, {"match_arm"}).child_by_field_name("pattern")
        guard = pattern.child_by_field_name("condition")
        if guard is None:
            return "insert", pattern.end_byte, f" if !crate::mutant({n})"
        return "instead", (guard.start_byte, guard.end_byte), "false"
    if genre == "Statement":
        return "unless", (start, end), ""
    if genre == "MatchArmGuard":
        return "instead", (start, end), new
    if genre == "StructField":
        field = file.around(start, start + 1, {"field_initializer", "shorthand_field_initializer"})
        others = field.parent.named_children
        base = next(node for node in others if node.type == "base_field_initializer")
        name = (field.child_by_field_name("field") or field.named_children[0]).text.decode()
        value = field.child_by_field_name("value")
        whole = f"({base.named_children[0].text.decode()}).{name}"
        if value is None:
            return "insert", field.end_byte, f": if crate::mutant({n}) {{ {whole} }} else {{ {name} }}"
        return "instead", (value.start_byte, value.end_byte), whole
    kinds = {"BinaryOperator": {"binary_expression", "compound_assignment_expr"}, "UnaryOperator": {"unary_expression"}}
    node = file.around(start, end, kinds[genre])
    if node is None:
        return None  # A let chain knows no `||`.
    before, after = file.text(node.start_byte, start), file.text(end, node.end_byte)
    if node.type == "binary_expression":
        before, after = f"({before})", f"({after})"
    return "instead", (node.start_byte, node.end_byte), f"{before}{new}{after}"


def functions_above(node):
    """The names around a node, outermost first; `None` inside of tests."""
    names = []
    while node is not None:
        if node.type in {"function_item", "mod_item", "impl_item"}:
            before = node.prev_named_sibling
            if before is not None and before.type == "attribute_item" and b"cfg(test)" in before.text:
                return None
            name = node.child_by_field_name("name") or node.child_by_field_name("type")
            names.append(name.text.decode())
        node = node.parent
    return names[::-1]


DOING = {"assignment_expression", "compound_assignment_expr", "call_expression", "try_expression", "await_expression"}


def statements(file, name):
    """One mutant for each statement that could be left out, and for each match arm that only does something."""
    left = [file.root]
    while left:
        node = left.pop()
        left += reversed(node.children)
        if node.type == "expression_statement" and node.named_children[0].type in DOING:
            where = node
        elif node.type == "match_arm" and node.child_by_field_name("value").type in DOING:
            where = node.child_by_field_name("value")
            if where.text.endswith(b".into()"):
                continue  # A value, and what else it might be is no error at this place.
        else:
            continue
        above = functions_above(where)
        if above:
            ends = [where.start_point, where.end_point]
            lines = [file.lines[point.row].encode() for point in ends]
            spans = [
                {"line": point.row + 1, "column": len(line[: point.column].decode()) + 1}
                for point, line in zip(ends, lines)
            ]
            at = f"{name}:{spans[0]['line']}:{spans[0]['column']}"
            yield {
                "file": name, "name": f"{at}: delete statement in {'::'.join(above)}", "genre": "Statement",
                "span": {"start": spans[0], "end": spans[1]}, "replacement": "",
            }


def written(file, mutants):
    """The file with its mutants in it, and for each byte range of it the mutant it belongs to."""
    pieces = []  # (position, closing, breadth, text, mutant)
    choices = defaultdict(list)
    for mutant in mutants:
        how, where, text = mutant["place"]
        if how == "insert":
            pieces.append((where, 1, 0, text, mutant["id"]))
        else:
            choices[where].append((how, text, mutant["id"]))
    for (start, end), of_node in choices.items():
        breadth = end - start
        for how, text, n in of_node:
            if how == "unless":
                pieces.append((start, 2, -breadth, f"{{ if !crate::mutant({n}) {{ ", n))
                pieces.append((end, 0, breadth, " } }", None))
                continue
            pieces.append((start, 2, -breadth, f"(if crate::mutant({n}) {{ {text} }} else {{ ", n))
            pieces.append((end, 0, breadth, " })", None))
    pieces.sort(key=lambda piece: piece[:3])
    out, ranges, done = b"", [], 0
    for position, _, _, text, n in pieces:
        out += file.source[done:position]
        if n is not None:
            ranges.append((len(out), len(out) + len(text.encode()), n))
        out += text.encode()
        done = position
    return out + file.source[done:], ranges


def spans_of(message):
    """All places that a compiler message points at, macro calls and notes included."""
    for span in message["spans"]:
        while span:
            yield span
            span = (span.get("expansion") or {}).get("span")
    for child in message["children"]:
        yield from spans_of(child)


def between(at, ranges):
    """The mutants that lie between the first and the last of these places."""
    name = at[0][0] if at else None
    first, last = (pick((byte for file, byte in at if file == name), default=0) for pick in (min, max))
    return [n for start, _, n in ranges.get(name, []) if first <= start < last]


def complaints(copy, ranges, arms, releases):
    """One `cargo check`: the mutants that the compiler refuses, with its words."""
    run = subprocess.run(
        ["cargo", "check", "--locked", "--lib", "--message-format=json", "-j2"],
        cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )
    refused, strange = {}, []
    for line in run.stdout.splitlines():
        line = json.loads(line)
        if line.get("reason") != "compiler-message" or line["message"]["level"] != "error":
            continue
        message = line["message"]
        at = [(span["file_name"], span["byte_start"]) for span in spans_of(message)]
        found = {n for name, byte in at for start, end, n in ranges.get(name, []) if start <= byte < end}
        if found:
            refused |= dict.fromkeys(found, message["message"])
        elif (message["code"] or {}).get("code") == "E0004":
            # A deleted arm of a match that names every case: the last one of that match, until none complains.
            name = at[0][0]
            last_byte = max(byte for _, byte in at)
            of_match = [n for start, _, n in ranges[name] if at[0][1] <= start < last_byte and n in arms]
            refused[of_match[-1]] = message["message"]
        elif drops := [n for n in between(at, ranges) if n in releases]:
            # Something is borrowed for as long as it is not dropped.
            refused |= dict.fromkeys(drops, message["message"])
        elif message["spans"]:
            strange.append(message["rendered"])
    if run.returncode and not refused:
        sys.exit("\n".join(strange) or run.stderr)
    return refused


def main(listing, copy):
    mutants = json.loads(Path(listing).read_text())
    files = {name: File(copy / name) for name in sorted({mutant["file"] for mutant in mutants})}
    for name, file in files.items():
        mutants += statements(file, name)
    mutants.sort(key=lambda mutant: ("src/store" in mutant["file"], "src/core" not in mutant["file"]))
    for n, mutant in enumerate(mutants):
        mutant["id"] = n
    library = copy / "src/lib.rs"
    library.write_text(library.read_text() + SWITCH.replace("COUNT", str(len(mutants))))
    for test in (copy / "tests").rglob("*.rs"):
        text = test.read_text()
        if CLEARED in text:
            test.write_text(text.replace(CLEARED, KEPT))
    arms = {mutant["id"] for mutant in mutants if mutant["genre"] == "MatchArm"}
    is_drop = lambda m: m["genre"] == "Statement" and files[m["file"]].lines[m["span"]["start"]["line"] - 1].strip().startswith("drop(")
    releases = {mutant["id"] for mutant in mutants if is_drop(mutant)}
    unviable = {}
    for mutant in mutants:
        mutant["place"] = place(files[mutant["file"]], mutant)
        if mutant["place"] is None:
            unviable[mutant["id"]] = "a let chain knows no `||`, a function returns one type of iterator"
    while True:
        ranges = {}
        for name, file in files.items():
            of_file = [m for m in mutants if m["file"] == name and m["id"] not in unviable]
            text, ranges[name] = written(file, of_file)
            file.path.write_bytes(text)
        refused = complaints(copy, ranges, arms, releases)
        if not refused:
            break
        unviable |= refused
        print(f"{len(unviable)} do not compile", flush=True)
    for mutant in mutants:
        mutant["unviable"] = unviable.get(mutant["id"])
        del mutant["place"]
        line = mutant["span"]["start"]["line"]
        mutant["line"] = files[mutant["file"]].lines[line - 1].strip()
    (copy / "mutants.json").write_text(json.dumps(mutants, indent=1))
    print(f"{len(mutants)} mutants, {len(unviable)} do not compile")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
