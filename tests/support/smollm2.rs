//! Where the small real language model is, if it is.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::path::PathBuf;

/// The folder from TESSERAL_SMOLLM2, else from the user's cache; `None`, with the reason printed, where there is none.
pub fn folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let usual = cache.map(|cache| cache.join("tesseral/smollm2-135m-instruct"));
    let folder = std::env::var_os("TESSERAL_SMOLLM2").map(PathBuf::from).or(usual)?;
    let whole = folder.join("tokenizer.json").is_file();
    if !whole {
        println!("skipped: no SmolLM2 in {} (TESSERAL_SMOLLM2 names another folder)", folder.display());
    }
    whole.then_some(folder)
}
