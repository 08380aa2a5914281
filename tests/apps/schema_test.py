"""Holds `puzzle schema` against a validator of JSON Schema that other people wrote.

Usage: schema_test.py TOY_PUZZLE PUZZLE CONFIG...

Every graph of the tables below is judged twice, by the validator and by `puzzle validate`; both have
to say the same. Then the schema of the real kinds has to accept the given configurations.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

try:
    from jsonschema import Draft202012Validator
except ImportError as error:
    print(f"skipped: {error} (Debian: python3-jsonschema)")
    sys.exit(77)

GOOD = {
    "empty": '{"puzzle": 1, "nodes": {}}',
    "comments": '// one\n{"puzzle": 1, /* two */ "nodes": {}} // "three"',
    "editor": '{"$schema": "graph.schema.json", "doc": "a graph", "puzzle": 1, "nodes": {}}',
    "reference": """{"puzzle": 1, "vars": {"n": 3}, "nodes": {
        "e": {"kind": "every", "params": {"required": "${n}", "integer": "${n}"}}}}""",
    "foreach": """{"puzzle": 1, "vars": {"l": {"range": [0, 3]}}, "nodes": {
        "t": {"kind": "text", "foreach": {"i": "${l}", "j": ["a", 1, true], "k": {"range": [0, 2]}},
              "exclude": [{"i": 1, "j": ["a"]}],
              "overrides": [{"where": {"i": [0, 1]}, "params": {"value": "x"}}]},
        "c": {"kind": "concat", "in": {"parts": ["t[i=2]"]}}}}""",
    "required parameter from an override": """{"puzzle": 1, "nodes": {
        "e": {"kind": "every", "overrides": [{"where": {}, "params": {"required": 1}}]}}}""",
    "control": """{"puzzle": 1, "vars": {"n": 2}, "nodes": {
        "t": {"kind": "text", "retries": 3, "timeout": 0.5},
        "u": {"kind": "text", "retries": "${n}", "timeout": "${n}"}}}""",
    "include": '{"puzzle": 1, "include": {"base": {"file": "base.json", "vars": {"v": [1]}}}}',
}

WRONG = {
    "not an object": "[]",
    "no version": '{"nodes": {}}',
    "future version": '{"puzzle": 2, "nodes": {}}',
    "neither nodes nor includes": '{"puzzle": 1}',
    "unknown key": '{"puzzle": 1, "var": {}, "nodes": {}}',
    "documentation is no text": '{"puzzle": 1, "doc": 3, "nodes": {}}',
    "nodes are no object": '{"puzzle": 1, "nodes": []}',
    "name of a node": '{"puzzle": 1, "nodes": {"a b": {"kind": "text"}}}',
    "name of a variable": '{"puzzle": 1, "vars": {"1": 1}, "nodes": {}}',
    "variable is an object": '{"puzzle": 1, "vars": {"v": {"rnage": [0, 1]}}, "nodes": {}}',
    "range of one": '{"puzzle": 1, "vars": {"v": {"range": [0]}}, "nodes": {}}',
    "node is no object": '{"puzzle": 1, "nodes": {"a": 1}}',
    "no kind": '{"puzzle": 1, "nodes": {"a": {}}}',
    "unknown kind": '{"puzzle": 1, "nodes": {"a": {"kind": "txet"}}}',
    "unknown key of a node": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "parms": {}}}}',
    "unknown parameter": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"vlaue": "x"}}}}',
    "type of a parameter": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": 3}}}}',
    "number below the limit":
        '{"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"log_every": 0}}}}',
    "number above the limit":
        '{"puzzle": 1, "nodes": {"a": {"kind": "stream", "params": {"rows": 1001}}}}',
    "text that is no option": """{"puzzle": 1, "nodes": {
        "a": {"kind": "every", "params": {"required": 1, "text": "gamma"}}}}""",
    "list with a wrong element": """{"puzzle": 1, "nodes": {
        "a": {"kind": "every", "params": {"required": 1, "integers": [1, "x"]}}}}""",
    "required parameter": '{"puzzle": 1, "nodes": {"a": {"kind": "every", "params": {}}}}',
    "required parameters": '{"puzzle": 1, "nodes": {"a": {"kind": "every"}}}',
    "unknown input": """{"puzzle": 1, "nodes": {"a": {"kind": "text"},
        "b": {"kind": "upper", "in": {"in": "a", "too": "a"}}}}""",
    "missing input": '{"puzzle": 1, "nodes": {"b": {"kind": "upper", "in": {}}}}',
    "missing inputs": '{"puzzle": 1, "nodes": {"b": {"kind": "upper"}}}',
    "list where one step belongs": """{"puzzle": 1, "nodes": {"a": {"kind": "text"},
        "b": {"kind": "upper", "in": {"in": ["a"]}}}}""",
    "foreach without axes": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {}}}}',
    "axis over a text": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": "x"}}}}',
    "axis over lists": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": [[1]]}}}}',
    "exclude is no list":
        '{"puzzle": 1, "nodes": {"a": {"kind": "text", "exclude": {"i": 1}}}}',
    "exclude excludes nothing":
        '{"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": [1]}, "exclude": [{}]}}}',
    "override without where":
        '{"puzzle": 1, "nodes": {"a": {"kind": "text", "overrides": [{"params": {}}]}}}',
    "override of an unknown parameter": """{"puzzle": 1, "nodes": {"a": {"kind": "text",
        "overrides": [{"where": {}, "params": {"vlaue": "x"}}]}}}""",
    "negative retries": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "retries": -1}}}',
    "half a retry": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "retries": 0.5}}}',
    "no time": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "timeout": 0}}}',
    "time in words": '{"puzzle": 1, "nodes": {"a": {"kind": "text", "timeout": "soon"}}}',
    "include without file": '{"puzzle": 1, "include": {"base": {"vars": {}}}}',
    "unknown key of an include": '{"puzzle": 1, "include": {"base": {"file": "base.json", "v": 1}}}',
    "prefix that is no name": '{"puzzle": 1, "include": {"a/b": {"file": "base.json"}}}',
}


def parse_with_comments(text):
    """JSON with // and /* */ comments, which stand outside strings."""
    tokens = r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/'
    return json.loads(re.sub(tokens, lambda m: m.group(1) or " ", text, flags=re.S))


def schema_of(program):
    schema = json.loads(subprocess.run([program, "schema"], check=True, capture_output=True).stdout)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def main(toy, puzzle, configs):
    complaints = []
    validator = schema_of(toy)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "base.json"), "w") as file:
            file.write('{"puzzle": 1, "vars": {"v": 1}, "nodes": {}}')
        for name, text, expected in [(n, t, True) for n, t in GOOD.items()] + [
                (n, t, False) for n, t in WRONG.items()]:
            with open(os.path.join(folder, "graph.json"), "w") as file:
                file.write(text)
            by_schema = validator.is_valid(parse_with_comments(text))
            process = subprocess.run([toy, "validate", "graph.json"], cwd=folder,
                                     capture_output=True, text=True)
            by_program = process.returncode == 0
            if by_schema != expected or by_program != expected:
                complaints.append(f"{name}: expected {expected}, schema says {by_schema}, "
                                  f"validate says {by_program} {process.stderr}")
    validator = schema_of(puzzle)
    for config in configs:
        with open(config) as file:
            for error in validator.iter_errors(parse_with_comments(file.read())):
                complaints.append(f"{config}: {error.json_path}: {error.message}")
    print("\n".join(complaints) or
          f"{len(GOOD)} good and {len(WRONG)} wrong graphs, {len(configs)} configurations: agreed")
    return 1 if complaints or not configs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
