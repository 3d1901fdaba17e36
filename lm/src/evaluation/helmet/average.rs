//! Averages of the seven categories, as they are reported: 0 to 100.

use crate::evaluation::compat::Compat;
use crate::evaluation::task::Scores;
use serde::Serialize;

/// Categories and the columns (data set and metric) they are the mean of, in the order of the original.
pub const CATEGORIES: [(&str, &[&str]); 7] = [
    (
        "Recall",
        &[
            "json_kv substring_exact_match",
            "ruler_niah_mk_2 ruler_recall",
            "ruler_niah_mk_3 ruler_recall",
            "ruler_niah_mv ruler_recall",
        ],
    ),
    (
        "RAG",
        &[
            "nq substring_exact_match",
            "hotpotqa substring_exact_match",
            "popqa substring_exact_match",
            "triviaqa substring_exact_match",
        ],
    ),
    (
        "ICL",
        &[
            "trec_coarse exact_match",
            "trec_fine exact_match",
            "banking77 exact_match",
            "clinic150 exact_match",
            "nlu exact_match",
        ],
    ),
    (
        "Cite",
        &[
            "alce_asqa str_em",
            "alce_asqa citation_rec",
            "alce_asqa citation_prec",
            "alce_qampari qampari_rec_top5",
            "alce_qampari citation_rec",
            "alce_qampari citation_prec",
        ],
    ),
    ("Re-rank", &["msmarco_rerank_psg NDCG@10"]),
    ("LongQA", &["narrativeqa gpt-4-score", "infbench_qa rougeL_f1", "infbench_choice exact_match"]),
    ("Summ", &["infbench_sum gpt-4-f1", "multi_lexsum gpt-4-f1"]),
];

/// The name of the mean over the categories.
pub const OVERALL: &str = "Ours";

/// Spearman correlations between the categories over the models of the paper, in the order of
/// [`PUBLISHED_CATEGORIES`] (figure `task_correlation` of the original's repository).
pub const PUBLISHED: [[f64; 7]; 7] = [
    [1.0, 0.87, 0.74, 0.86, 0.84, 0.87, 0.63],
    [0.87, 1.0, 0.76, 0.90, 0.93, 0.87, 0.59],
    [0.74, 0.76, 1.0, 0.80, 0.74, 0.76, 0.36],
    [0.86, 0.90, 0.80, 1.0, 0.89, 0.87, 0.47],
    [0.84, 0.93, 0.74, 0.89, 1.0, 0.84, 0.58],
    [0.87, 0.87, 0.76, 0.87, 0.84, 1.0, 0.39],
    [0.63, 0.59, 0.36, 0.47, 0.58, 0.39, 1.0],
];

/// Rows and columns of [`PUBLISHED`].
pub const PUBLISHED_CATEGORIES: [&str; 7] = ["Recall", "RAG", "Cite", "Re-rank", "LongQA", "Summ", "ICL"];

/// The mean of one category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Its name; `Ours` is the mean over the categories.
    pub name: &'static str,
    /// 0 to 100; absent where nothing was measured, and mended, where something is missing.
    pub mean: Option<f64>,
    /// Columns, or categories, that were not measured. (The original leaves them out of the mean without a word.)
    pub missing: Vec<&'static str>,
}

/// A score as it is reported: times 100, of a judge of answers times 100/3, and lengths (`.._len`) as they are.
pub fn reported(metric: &str, score: f64) -> f64 {
    match metric {
        "gpt-4-score" => score * 100.0 / 3.0,
        metric if metric.contains("_len") => score,
        _ => score * 100.0,
    }
}

/// The column of a data set's metric in the averages: `kilt_nq` and `substring_exact_match` to
/// `nq substring_exact_match`. `None` where the averages take no such data set.
pub fn column(dataset: &str, metric: &str) -> Option<&'static str> {
    let columns = CATEGORIES.iter().flat_map(|(_, columns)| columns.iter().copied());
    columns.filter(|column| column.split_once(' ').is_some_and(|(d, m)| dataset.contains(d) && m == metric)).next()
}

/// The mean of each category, and of the categories, from the reported scores by column.
///
/// Where columns are missing, [`Compat::Original`] takes the mean of those there; mended, there is none.
pub fn averages(scores: &Scores, compat: Compat) -> Vec<Average> {
    let mean = |name, columns: Vec<(&'static str, Option<f64>)>| {
        let found: Vec<f64> = columns.iter().filter_map(|(_, score)| *score).filter(|score| !score.is_nan()).collect();
        let missing: Vec<&str> =
            columns.iter().filter(|(_, score)| score.is_none_or(f64::is_nan)).map(|(column, _)| *column).collect();
        let whole = missing.is_empty() || compat.is_original();
        let mean = (whole && !found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64);
        Average { name, mean, missing }
    };
    let column = |column: &&'static str| (*column, scores.get(*column).copied());
    let mut averages: Vec<Average> =
        CATEGORIES.iter().map(|(name, columns)| mean(*name, columns.iter().map(column).collect())).collect();
    averages.push(mean(OVERALL, averages.iter().map(|average| (average.name, average.mean)).collect()));
    averages
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    #[test]
    fn averages_are_those_of_the_original() {
        for case in golden::cases("category_average.json") {
            let number = |(name, score): (&String, &serde_json::Value)| Some((name.clone(), score.as_f64()?));
            let scores: Scores = case["scores"].as_object().unwrap().iter().filter_map(number).collect();
            let found = averages(&scores, Compat::Original);
            let expected = case["averages"].as_object().unwrap();
            assert_eq!(found.len(), expected.len());
            for average in found {
                let expected = &expected[average.name];
                assert!(golden::close(average.mean.unwrap_or(f64::NAN), expected), "{} {expected}", average.name);
            }
        }
    }

    #[test]
    fn the_columns_of_the_golden_file_are_those_here() {
        let Some(file) = golden::file("category_average.json") else { return };
        for (name, columns) in CATEGORIES {
            assert_eq!(file["_meta"]["custom_avgs"][name], serde_json::json!(columns));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let scores =
            Scores::from([("msmarco_rerank_psg NDCG@10".into(), 50.0), ("nq substring_exact_match".into(), 20.0)]);
        let original = averages(&scores, Compat::Original);
        assert_eq!((original[1].mean, original[4].mean, original[7].mean), (Some(20.0), Some(50.0), Some(35.0)));
        let mended = averages(&scores, Compat::Mended);
        assert_eq!((mended[1].mean, mended[4].mean, mended[7].mean), (None, Some(50.0), None));
        assert_eq!(mended[1].missing.len(), 3);
        assert_eq!(mended[7].missing, ["Recall", "RAG", "ICL", "Cite", "LongQA", "Summ"]);
    }

    #[test]
    fn scores_are_reported_in_their_columns() {
        assert_eq!(column("kilt_nq", "substring_exact_match"), Some("nq substring_exact_match"));
        assert_eq!(column("infbench_qa_eng_3892", "rougeL_f1"), Some("infbench_qa rougeL_f1"));
        assert_eq!(column("kilt_nq", "f1"), None);
        assert_eq!((reported("gpt-4-score", 3.0), reported("f1", 0.5), reported("input_len", 7.0)), (100.0, 50.0, 7.0));
    }

    #[test]
    fn the_published_correlations_are_a_correlation_matrix() {
        let mut names: Vec<&str> = CATEGORIES.iter().map(|(name, _)| *name).collect();
        let mut published = PUBLISHED_CATEGORIES.to_vec();
        names.sort_unstable();
        published.sort_unstable();
        assert_eq!(names, published);
        for (i, row) in PUBLISHED.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert_eq!(*value, PUBLISHED[j][i]);
                assert_eq!(*value == 1.0, i == j);
            }
        }
    }
}
