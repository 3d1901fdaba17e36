//! Citations put in after the answer was written: each statement without one gets the best document for it.

use super::data::{Dataset, Document};
use super::search::Search;
use super::text;
use crate::python::text::{is_space, strip};

/// Cites. `overwrite`: statements that cite already are cited anew. The citation stands before its statement.
pub fn cite(
    dataset: Dataset,
    question: &str,
    output: &str,
    documents: &[Document],
    overwrite: bool,
    search: &dyn Search,
) -> String {
    let output = output.replace("<|im_end|>", "");
    let mut cited = String::new();
    for statement in text::statements(dataset, question, &output) {
        let statement = if overwrite || text::citations(&statement).is_empty() {
            let statement = text::remove_citations(&statement);
            match search.best(&statement, documents) {
                Some(place) => format!("[{}] {statement}", place + 1),
                None => statement,
            }
        } else {
            statement
        };
        match dataset {
            Dataset::Qampari => cited.extend([strip(&statement.replace(question, "")), ", "]),
            _ => cited.extend([statement.as_str(), " "]),
        }
    }
    cited.trim_end_matches(is_space).trim_end_matches(',').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::alce::search::Shared;
    use crate::evaluation::metrics::golden;

    #[test]
    fn golden_citations_after_the_answer() {
        let Some(file) = golden::file("alce/post_hoc_cite.json") else { return };
        let documents: Vec<Document> = serde_json::from_value(file["_meta"]["docs"].clone()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let dataset: Dataset = serde_json::from_value(case["dataset"].clone()).unwrap();
            let text = |key: &str| case[key].as_str().unwrap();
            let overwrite = case["overwrite"].as_bool().unwrap();
            let found = cite(dataset, text("question"), text("output"), &documents, overwrite, &Shared);
            assert_eq!(found, text("result"));
        }
    }

    #[test]
    fn without_documents_nothing_is_cited() {
        assert_eq!(cite(Dataset::Asqa, "q", "A is b. C is d.", &[], false, &Shared), "A is b. C is d.");
    }
}
