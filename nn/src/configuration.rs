//! Configurations from TOML: `key.path=value` overrides, and every unknown key told at once with the nearest that exists.

use serde::de::DeserializeOwned;

/// Reads `text` with `overrides` (`key.path=value`, values in TOML; bare words are strings) into a type whose structs deny
/// unknown fields.
///
/// # Errors
/// All mistakes, as `key: reason`.
pub fn parse<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, Vec<String>> {
    let mut table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| vec![e.to_string().trim_end().to_string()])?;
    let mut problems: Vec<String> = overrides.iter().filter_map(|o| set(&mut table, o).err()).collect();
    loop {
        let error = match table.clone().try_into::<T>() {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
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
        let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, &key));
        let hint = nearest.map(|name| format!("; nearest: {name}")).unwrap_or_default();
        let full: Vec<&str> = path.iter().map(String::as_str).chain([key.as_str()]).collect();
        problems.push(format!("{}: unknown key{hint}", full.join(".")));
        if !remove(&mut table, &path, &key) {
            return Err(problems);
        }
    }
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
        let found: Outer = parse("seed = 1\n[inner]\nsteps = 2", &set).unwrap();
        assert_eq!(found, Outer { seed: 3, name: "a b".into(), inner: Inner { steps: 2, rate: 0.5 } });
    }

    #[test]
    fn every_mistake_is_told() {
        let text = "sed = 1\n[inner]\nstep = 2\nrat = 1.0";
        let mut problems = parse::<Outer>(text, &["seed".into()]).unwrap_err();
        problems.sort();
        let expected = [
            "--set seed: key=value expected",
            "inner.rat: unknown key; nearest: rate",
            "inner.step: unknown key; nearest: steps",
            "sed: unknown key; nearest: seed",
        ];
        assert_eq!(problems, expected);
        let wrong = parse::<Outer>("[inner]\nsteps = \"many\"", &[]).unwrap_err();
        assert!(wrong[0].starts_with("inner.steps: invalid type"), "{wrong:?}");
        assert!(parse::<Outer>("seed =", &[]).is_err());
    }
}
