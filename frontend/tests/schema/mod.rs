//! As much of JSON Schema as our schema uses, so that a report can be checked without another program; where Python has
//! its `jsonschema`, that is asked as well.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// Words that [`check`] knows; a schema with another one is refused, so that nothing goes unchecked.
const KNOWN: [&str; 17] = [
    "$schema",
    "title",
    "description",
    "type",
    "additionalProperties",
    "required",
    "properties",
    "const",
    "enum",
    "anyOf",
    "minimum",
    "maximum",
    "pattern",
    "minItems",
    "items",
    "$ref",
    "$defs",
];

/// Does `value` follow `schema`?
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    at(schema, schema, value, "")
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => panic!("type {kind}"),
    }
}

fn at(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let rules = schema.as_object().expect("a schema is an object");
    if let Some(name) = rules.keys().find(|k| !KNOWN.contains(&k.as_str())) {
        panic!("{place}: the checker does not know {name}");
    }
    let wrong = |what: &str| Err(format!("{place}: {what}: {value}"));
    if let Some(path) = rules.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(path.trim_start_matches('#')).expect("a reference leads somewhere");
        at(root, target, value, place)?;
    }
    if let Some(kinds) = rules.get("type") {
        let kinds: Vec<&str> =
            kinds.as_array().map_or(vec![kinds], |k| k.iter().collect()).iter().map(|k| k.as_str().unwrap()).collect();
        if !kinds.iter().any(|k| is(k, value)) {
            return wrong("type");
        }
    }
    if rules.get("const").is_some_and(|c| c != value)
        || rules.get("enum").is_some_and(|e| !e.as_array().unwrap().contains(value))
    {
        return wrong("not one of those allowed");
    }
    let any = rules.get("anyOf").and_then(Value::as_array);
    if any.is_some_and(|any| !any.iter().any(|s| at(root, s, value, place).is_ok())) {
        return wrong("none of several");
    }
    if let Some(n) = value.as_u64() {
        let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
        if bound("minimum").is_some_and(|m| n < m) || bound("maximum").is_some_and(|m| n > m) {
            return wrong("out of range");
        }
    }
    if rules.get("pattern").is_some() {
        // The one pattern there is: a SHA-256.
        assert_eq!(rules["pattern"], "^[0-9a-f]{64}$");
        let text = value.as_str().unwrap_or("");
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return wrong("pattern");
        }
    }
    within(root, rules, value, place)
}

fn within(root: &Value, rules: &serde_json::Map<String, Value>, value: &Value, place: &str) -> Result<(), String> {
    if let (Some(items), Some(all)) = (rules.get("items"), value.as_array()) {
        if all.len() < rules.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize {
            return Err(format!("{place}: too few"));
        }
        for (n, item) in all.iter().enumerate() {
            at(root, items, item, &format!("{place}/{n}"))?;
        }
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    let none = serde_json::Map::new();
    let properties = rules.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for name in rules.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            return Err(format!("{place}: {name} is missing"));
        }
    }
    for (name, inner) in object {
        match properties.get(name) {
            Some(rule) => at(root, rule, inner, &format!("{place}/{name}"))?,
            None if rules.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Err(format!("{place}: {name} is not foreseen"));
            }
            None => {}
        }
    }
    Ok(())
}

/// Asks Python's `jsonschema`; says so and passes where there is none.
pub fn check_with_python(schema: &str, value: &Value) {
    const PROGRAM: &str = "import sys, json\ntry:\n import jsonschema\nexcept ImportError:\n sys.exit(77)\n\
        s, v = json.loads(sys.stdin.read())\njsonschema.validate(v, s)\n";
    let spawned = Command::new("python3").args(["-W", "ignore", "-c", PROGRAM]).stdin(Stdio::piped()).spawn();
    let Ok(mut python) = spawned else { return eprintln!("skipped: no python3") };
    let both = format!("[{schema},{value}]");
    python.stdin.take().unwrap().write_all(both.as_bytes()).unwrap();
    match python.wait().unwrap().code() {
        Some(77) => eprintln!("skipped: Python has no jsonschema"),
        code => assert_eq!(code, Some(0)),
    }
}
