//! Every file in `configs/` is read, and the template names every key that a configuration has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::path::{Path, PathBuf};
use tesseral::lm::configuration::Configuration;
use tesseral::lm::parallel_context::training::ContextConfig;
use tesseral::lm::training::LmConfig;
use tesseral::physics::config::Config;

fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    // Evaluation has a folder of its own, read by the tests of its modules.
    let all = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = all.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn has(file: &Path, key: &str) -> bool {
    std::fs::read_to_string(file).unwrap().parse::<toml::Table>().unwrap().contains_key(key)
}

/// Stages of parallel contexts say which they are.
fn is_context(file: &Path) -> bool {
    has(file, "stage")
}

/// Other configurations of language models have a section `model`.
fn is_lm(file: &Path) -> bool {
    has(file, "model") && !is_context(file)
}

#[test]
fn every_file_is_read() {
    let files = configs();
    assert!(files.len() >= 2);
    for file in files.iter().filter(|f| is_lm(f)) {
        let config = LmConfig::read(file, &[]).unwrap_or_else(|e| panic!("{e}"));
        let again = LmConfig::parse(&config.to_toml().unwrap(), file, &[]).unwrap();
        assert_eq!(again, config, "{}", file.display());
    }
    for file in files.iter().filter(|f| is_context(f)) {
        let config = ContextConfig::read(file, &[]).unwrap_or_else(|e| panic!("{e}"));
        let again = ContextConfig::parse(&config.to_toml().unwrap(), file, &[]).unwrap();
        assert_eq!(again, config, "{}", file.display());
    }
    for file in files.into_iter().filter(|f| !is_lm(f) && !is_context(f)) {
        let config = Config::read(&file, &[]).unwrap_or_else(|e| panic!("{e}"));
        for root in &config.data.roots {
            assert!(root.is_dir(), "{}: data.roots: {} is not there", file.display(), root.display());
        }
        let again = Config::parse(&config.to_toml().unwrap(), &file, &[]).unwrap();
        assert_eq!(again, config, "{}", file.display());
    }
}

#[test]
fn the_template_names_every_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/physics-graphene.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let defaults: toml::Table = Config::default().to_toml().unwrap().parse().unwrap();
    for section in ["data", "covariant", "refine"] {
        for key in defaults[section].as_table().unwrap().keys() {
            let named = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(named, "{section}.{key} is not in the template");
        }
    }
}

#[test]
fn the_template_of_language_models_names_every_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/lm-template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let read: toml::Table = LmConfig::read(&file, &[]).unwrap().to_toml().unwrap().parse().unwrap();
    let begins = |with: &str| text.lines().any(|line| line.trim_start_matches("# ").starts_with(with));
    for (section, table) in read.iter().filter_map(|(section, value)| Some((section, value.as_table()?))) {
        for (key, _) in table.iter().filter(|(_, value)| !value.is_table()) {
            let named = begins(&format!("{key} = ")) || begins(&format!("[[{section}.{key}]]"));
            assert!(named, "{section}.{key} is not in the template");
        }
    }
    assert!(text.lines().filter(|line| line.starts_with("# ")).count() > 10);
}

#[test]
fn the_stages_of_contexts_name_every_key() {
    let all: Vec<String> =
        configs().iter().filter(|f| is_context(f)).map(|f| std::fs::read_to_string(f).unwrap()).collect();
    let defaults: toml::Table = ContextConfig::default().to_toml().unwrap().parse().unwrap();
    for section in ["model", "data", "distil"] {
        for key in defaults[section].as_table().unwrap().keys() {
            let begins = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(all.iter().any(|text| text.lines().any(begins)), "{section}.{key} is in no configuration");
        }
    }
}
