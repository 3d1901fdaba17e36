//! Configurations from TOML: `key.path=value` overrides, and every mistake told at once, unknown keys with the nearest that
//! exists.

use serde::de::DeserializeOwned;

/// Reads `text` with `overrides` (`key.path=value`, values in TOML; bare words are strings) into a type whose structs deny
/// unknown fields; `check` tells what is wrong with a value, as `key: reason`.
///
/// # Errors
/// All mistakes, as `key: reason`.
pub fn parse<T: DeserializeOwned>(
    text: &str,
    overrides: &[String],
    check: impl Fn(&T) -> Vec<String>,
) -> Result<T, Vec<String>> {
    parse_over(text, overrides, |_| {}, check)
}

/// As [`parse`]; `complete` gets what was given and adds values for what was not (see [`fill`]).
///
/// # Errors
/// As there.
pub fn parse_over<T: DeserializeOwned>(
    text: &str,
    overrides: &[String],
    complete: impl FnOnce(&mut toml::Table),
    check: impl Fn(&T) -> Vec<String>,
) -> Result<T, Vec<String>> {
    let mut table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| vec![e.to_string().trim_end().to_string()])?;
    let mut problems: Vec<String> = overrides.iter().filter_map(|o| set(&mut table, o).err()).collect();
    complete(&mut table);
    // Keys that may be missing only because they were misspelt.
    let mut meant: Vec<String> = Vec::new();
    loop {
        let error = match table.clone().try_into::<T>() {
            Ok(value) => {
                let told =
                    |problem: &String| meant.iter().any(|key| problem.strip_prefix(key).is_some_and(begins_value));
                problems.extend(check(&value).into_iter().filter(|problem| !told(problem)));
                return if problems.is_empty() { Ok(value) } else { Err(problems) };
            }
            Err(error) => error.to_string(),
        };
        // An unknown key is noted and taken out, so that the next one comes to light.
        let Some((path, key, known)) = unknown_key(&error) else {
            let mut lines = error.lines();
            let what = lines.next().unwrap_or_default();
            let place = lines.find_map(|line| line.strip_prefix("in ")).unwrap_or("").trim_matches('`');
            problems.push(if place.is_empty() { what.into() } else { format!("{place}: {what}") });
            return Err(problems);
        };
        let full = |key: &str| path.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join(".");
        let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, &key));
        let hint = nearest.map(|name| format!("; nearest: {name}")).unwrap_or_default();
        meant.extend(nearest.filter(|name| !contains(&table, &path, name)).map(|name| full(name)));
        problems.push(format!("{}: unknown key{hint}", full(&key)));
        if !remove(&mut table, &path, &key) {
            return Err(problems);
        }
    }
}

/// Adds the values of `defaults` whose keys are missing, section by section. A choice written as a section of one key, such as
/// `clip = { norm = 1.0 }`, is one value.
pub fn fill(table: &mut toml::Table, defaults: &toml::Table) {
    for (key, default) in defaults {
        match (table.get_mut(key), default) {
            (None, _) => drop(table.insert(key.clone(), default.clone())),
            (Some(toml::Value::Table(given)), toml::Value::Table(default))
                if given.len() != 1 || default.len() != 1 =>
            {
                fill(given, default);
            }
            _ => {}
        }
    }
}

/// Whether a key ends here.
fn begins_value(rest: &str) -> bool {
    rest.starts_with([':', '.'])
}

/// Puts `key.path=value` into a table.
///
/// # Errors
/// What is wrong with the override.
pub fn set(table: &mut toml::Table, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("--set {text}: key=value expected"))?;
    let parsed = format!("x = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("x"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.trim().into()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut place = table;
    for part in parts {
        let next = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| format!("--set {text}: {part} is not a section"))?;
    }
    place.insert(last.into(), value);
    Ok(())
}

/// Section, key and accepted keys of serde's complaint about an unknown field.
fn unknown_key(message: &str) -> Option<(Vec<String>, String, Vec<String>)> {
    let first = message.lines().next()?;
    let rest = &first[first.find("unknown field `")? + "unknown field `".len()..];
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(String::from).collect();
    let place = message.lines().find_map(|line| line.strip_prefix("in ")).unwrap_or("").trim_matches('`');
    let mut path: Vec<String> = place.split('.').filter(|p| !p.is_empty()).map(String::from).collect();
    if path.last().is_some_and(|last| last == key) {
        path.pop();
    }
    Some((path, key.into(), known))
}

fn contains(table: &toml::Table, path: &[String], key: &str) -> bool {
    let section = path.iter().try_fold(table, |table, part| table.get(part).and_then(toml::Value::as_table));
    section.is_some_and(|section| section.contains_key(key))
}

fn remove(table: &mut toml::Table, path: &[String], key: &str) -> bool {
    let mut place = table;
    for part in path {
        match place.get_mut(part).and_then(toml::Value::as_table_mut) {
            Some(next) => place = next,
            None => return false,
        }
    }
    place.remove(key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        seed: u64,
        name: String,
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        steps: u64,
        rate: f64,
    }

    #[test]
    fn overrides_win() {
        let set = ["inner.rate=0.5".to_string(), "name=a b".into(), "seed=3".into()];
        let found: Outer = parse("seed = 1\n[inner]\nsteps = 2", &set, |_| Vec::new()).unwrap();
        assert_eq!(found, Outer { seed: 3, name: "a b".into(), inner: Inner { steps: 2, rate: 0.5 } });
    }

    #[test]
    fn what_is_given_comes_before_defaults() {
        let read = |text: &str| text.parse::<toml::Table>().unwrap();
        let defaults = read("rate = 1.0\nclip = { norm = 1.0 }\n[inner]\na = 1\nb = 2");
        let filled = |text: &str| {
            let mut table = read(text);
            fill(&mut table, &defaults);
            table
        };
        assert_eq!(filled("[inner]\na = 5"), read("rate = 1.0\nclip = { norm = 1.0 }\n[inner]\na = 5\nb = 2"));
        assert_eq!(filled("clip = { value = 3.0 }")["clip"], read("clip = { value = 3.0 }")["clip"]);
        assert_eq!(filled("clip = \"none\"\ninner = 3")["clip"].as_str(), Some("none"));
    }

    #[test]
    fn every_mistake_is_told() {
        // Out of range, unless the key that was meant is told already.
        let range = |x: &Outer| {
            let steps = (x.inner.steps == 0).then(|| "inner.steps: from 1, found 0".to_string());
            steps.into_iter().chain((x.name.len() > 3).then(|| "name: too long".to_string())).collect()
        };
        let text = "sed = 1\nname = \"long\"\n[inner]\nstep = 2\nrat = 1.0";
        let mut problems = parse::<Outer>(text, &["seed".into()], range).unwrap_err();
        problems.sort();
        let expected = [
            "--set seed: key=value expected",
            "inner.rat: unknown key; nearest: rate",
            "inner.step: unknown key; nearest: steps",
            "name: too long",
            "sed: unknown key; nearest: seed",
        ];
        assert_eq!(problems, expected);
        assert_eq!(parse::<Outer>("[inner]\nrate = 1.0", &[], range).unwrap_err(), ["inner.steps: from 1, found 0"]);
        let both = parse::<Outer>("[inner]\nstep = 2\nsteps = 0", &[], range).unwrap_err();
        assert_eq!(both, ["inner.step: unknown key; nearest: steps", "inner.steps: from 1, found 0"]);
        let wrong = parse::<Outer>("[inner]\nsteps = \"many\"", &[], range).unwrap_err();
        assert!(wrong[0].starts_with("inner.steps: invalid type"), "{wrong:?}");
        assert!(parse::<Outer>("seed =", &[], range).is_err());
    }
}
