//! `tesseral lm eval helmet generate | judge | report`: data of any length and depth, and scores by length, depth and
//! category.

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tesseral::lm::evaluation::compat::Compat;
use tesseral::lm::evaluation::helmet::average::averages;
use tesseral::lm::evaluation::helmet::data::rows;
use tesseral::lm::evaluation::helmet::generate::{
    Generator, Haystack, KeyValues, Needles, Passages, Plan, build, depths, solved, write,
};
use tesseral::lm::evaluation::helmet::length::Budget;
use tesseral::lm::evaluation::helmet::report::{Series, category_scores};
use tesseral::lm::evaluation::report;
use tesseral::lm::model::tokenizer::Tokenizer;
use tesseral::nn::train::files::write_atomic;
use tesseral::plot::recall;

use super::judge::Judge;
use super::write_report;
use crate::cli::{Common, Pictures, Usage, at_least_one};

#[derive(Subcommand)]
pub(crate) enum Helmet {
    /// Make data and task files of given lengths, in tokens of a model's own tokenizer
    Generate(Generate),
    /// Let a model judge the stories and summaries of finished runs
    Judge(Judge),
    /// Scores by length and depth, and averages of categories, of finished runs
    Report(Report),
}

impl Helmet {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            Helmet::Generate(verb) => verb.run(common),
            Helmet::Judge(verb) => verb.run(common),
            Helmet::Report(verb) => verb.run(common),
        }
    }
}

/// What is made.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Key-value pairs of UUIDs
    JsonKv,
    /// Numbers of keys among others such (RULER's multi-key needles)
    NiahMk2,
    /// The same with UUIDs
    NiahMk3,
    /// Four numbers of one key (RULER's multi-value needles)
    NiahMv,
    /// One number of one key in a text that says nothing
    NiahS1,
    /// Questions with a passage that answers among others that do not
    Passages,
}

#[derive(Args)]
pub(crate) struct Generate {
    /// What to make
    #[arg(long, value_enum)]
    kind: Kind,
    /// A model folder, or a folder with tokenizer.json: its tokens are counted
    #[arg(long)]
    tokenizer: PathBuf,
    /// Tokens of prompt and answer together
    #[arg(long, value_delimiter = ',', default_value = "512,1024,2048,4096")]
    lengths: Vec<usize>,
    /// Questions of each length; each is asked at every depth
    #[arg(long, default_value = "10", value_parser = at_least_one)]
    questions: usize,
    /// Depths of the answer, from the first place to the last
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..1000))]
    depths: u16,
    /// Solved examples in a prompt
    #[arg(long, default_value_t = 2)]
    shots: usize,
    /// Most tokens of an answer; absent: as the benchmark has it
    #[arg(long)]
    answer: Option<usize>,
    /// Of everything that is drawn
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// With passages: their file, JSON lines of id and text
    #[arg(long)]
    texts: Option<PathBuf>,
    /// With passages: the questions, JSON lines of question, answers and passage_id
    #[arg(long)]
    about: Option<PathBuf>,
    /// With passages: most words of one
    #[arg(long, default_value_t = 100)]
    words: usize,
    /// With niah-mv and niah-s1: a text to hide needles in, in place of the same dull sentences
    #[arg(long)]
    haystack: Option<PathBuf>,
    /// The folder of data and task files
    #[arg(long)]
    out: PathBuf,
}

impl Generate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let tokenizer = Tokenizer::open(&self.tokenizer)?;
        let generator = self.generator()?;
        let dataset = generator.dataset().to_string();
        let needles = !matches!(self.kind, Kind::JsonKv | Kind::Passages);
        let shots = if needles { 0 } else { self.shots };
        let settings = tesseral::lm::evaluation::helmet::dataset::Dataset::named(&dataset)?.settings();
        let answer = self.answer.unwrap_or(settings.max_tokens);
        // Solved examples of passages are rows of their own.
        let (demos_file, mut solved_rows) = (format!("{dataset}_demos.jsonl"), Vec::new());
        let (mut demos, mut demos_key) = (Vec::new(), String::new());
        if matches!(self.kind, Kind::Passages) && shots > 0 {
            solved_rows = solved(generator.as_ref(), self.questions, 10 * shots)?;
            demos = rows(&solved_rows, &self.out.join(&demos_file))?;
            demos_key = format!("demos = \"{demos_file}\"\n");
        }
        let (mut files, mut made) = (Vec::new(), Vec::new());
        for length in &self.lengths {
            let budget = Budget { length: *length, answer, chat: false, turns: 0 };
            let plan = Plan { questions: self.questions, depths: depths(self.depths.into()), shots, budget };
            let name = tokenizer.source().display().to_string();
            let (rows, manifest) = build(generator.as_ref(), &plan, &demos, &tokenizer, &name)?;
            let stem = format!("{dataset}_{length}");
            let task = format!(
                "family = \"helmet\"\nname = \"helmet_{stem}\"\ndataset = \"{dataset}\"\nfile = \"{stem}.jsonl\"\n\
                shots = {shots}\nlength = {length}\nmax_tokens = {answer}\n{demos_key}tokenizer = \"tokenizer.json\"\n"
            );
            made.push(json!({"task": format!("{stem}.toml"), "rows": rows.len(), "lengths": manifest}));
            files.push((stem, rows, manifest, task));
        }
        // Nothing is written before everything fits.
        fs::create_dir_all(&self.out)?;
        if !solved_rows.is_empty() {
            write(&solved_rows, &self.out.join(&demos_file))?;
        }
        write_atomic(&self.out.join("tokenizer.json"), &fs::read(tokenizer.source())?)?;
        for (stem, rows, manifest, task) in files {
            write(&rows, &self.out.join(format!("{stem}.jsonl")))?;
            manifest.write(&self.out.join(format!("{stem}.lengths.json")))?;
            write_atomic(&self.out.join(format!("{stem}.toml")), task.as_bytes())?;
        }
        common.print(&made, || {
            let line = |value: &Value| format!("{}: {} rows\n", value["task"].as_str().unwrap_or(""), value["rows"]);
            made.iter().map(line).collect::<String>()
                + &format!("tesseral lm eval run --tasks {0} --data {0} --model MODEL --out RUN", self.out.display())
        })
    }

    fn generator(&self) -> Result<Box<dyn Generator>> {
        let haystack = || -> Result<Haystack> {
            Ok(match &self.haystack {
                Some(file) => {
                    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
                    Haystack::text(&text)?
                }
                None => Haystack::Noise,
            })
        };
        Ok(match self.kind {
            Kind::JsonKv => Box::new(KeyValues { seed: self.seed, shots: self.shots }),
            Kind::NiahMk2 => Box::new(Needles::multi_key(self.seed)),
            Kind::NiahMk3 => Box::new(Needles::uuids(self.seed)),
            Kind::NiahMv => Box::new(Needles::multi_value(self.seed, haystack()?)),
            Kind::NiahS1 => Box::new(Needles::single(self.seed, haystack()?)),
            Kind::Passages => {
                let (Some(texts), Some(about)) = (&self.texts, &self.about) else {
                    return Err(Usage("--kind passages: expected --texts and --about").into());
                };
                Box::new(Passages::read(texts, about, self.words, self.seed)?)
            }
        })
    }
}

#[derive(Args)]
pub(crate) struct Report {
    /// Folders of finished runs of one model
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Keep the original's means, which pass over missing tasks
    #[arg(long)]
    original: bool,
    /// A folder for report.json and the picture
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
}

impl Report {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let (_, tasks) = report::read_all(&self.runs)?;
        let series = Series::of(&tasks);
        if series.is_empty() {
            return Err(anyhow!("expected a task of the family helmet in one of the runs, found none"));
        }
        let compat = if self.original { Compat::Original } else { Compat::Mended };
        let means = averages(&category_scores(&tasks), compat);
        let value = json!({"by_length": series, "averages": means});
        if let Some(out) = &self.out {
            let panels: Vec<(&str, Vec<_>)> = series.iter().map(|s| (s.dataset.as_str(), s.recalls())).collect();
            let panels: Vec<(&str, &[_])> = panels.iter().map(|(name, all)| (*name, all.as_slice())).collect();
            write_report(out, &value, &self.pictures, "by_length_and_depth", |path| recall::draw(path, &panels))?;
        }
        common.print(&value, || {
            let mut text: String = series.iter().map(Series::table).collect();
            for mean in means.iter().filter(|mean| mean.mean.is_some()) {
                text += &format!("{}: {:.2}\n", mean.name, mean.mean.unwrap_or(f64::NAN));
            }
            text
        })
    }
}
