//! Statistics of a set: tables, pictures and one screen for a person.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::screen::table;
use crate::datasets::{deeph, files};
use crate::nn::train::Observer;
use crate::physics::statistics::{self, Group, OnSite, Statistics, Values};
use crate::physics::{Error, Result};
use crate::plot::{Format, decay, histogram};

/// Lines of a list on the screen; the files have all.
const MOST_LINES: usize = 10;

/// Statistics of all structures below the roots.
///
/// # Errors
/// No structure, or as [`statistics::of`].
pub fn stats(roots: &[PathBuf], observer: &mut dyn Observer) -> Result<Statistics> {
    statistics::of(&deeph::find_structures(roots)?, observer)
}

/// Writes `stats.json`, a table of each list, and the pictures `decay`, `histogram` and `pairs` into `out`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_stats(found: &Statistics, out: &Path, formats: &[Format]) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(out).map_err(|source| Error::Io { path: out.into(), source })?;
    let mut written = vec![out.join("stats.json")];
    files::write_atomic(&written[0], |w| {
        serde_json::to_writer_pretty(&mut *w, found)?;
        writeln!(w)
    })?;
    let groups = [
        ("by_element_pair", &found.by_element_pair),
        ("by_orbital_pair", &found.by_orbital_pair),
        ("by_distance", &found.by_distance),
    ];
    let mut csv = |name: &str, header: &str, lines: Vec<String>| -> Result<()> {
        let path = out.join(name).with_extension("csv");
        files::write_atomic(&path, |w| {
            writeln!(w, "{header}")?;
            lines.iter().try_for_each(|line| writeln!(w, "{line}"))
        })?;
        written.push(path);
        Ok(())
    };
    let columns = "elements,mean,std,mean_abs,max_abs";
    let both = |prefix: &str| columns.split(',').map(|c| format!("{prefix}_{c}")).collect::<Vec<_>>().join(",");
    for (name, list) in groups {
        let header = format!("element_pair,shells,from,to,pairs,{},{}", both("h"), both("s"));
        csv(name, &header, list.iter().map(group_line).collect())?;
    }
    let on_site = |o: &OnSite| format!("{},{},{},{}", o.element, o.shells, numbers(o.diagonal), numbers(o.others));
    let header = format!("element,shells,{},{}", both("diagonal"), both("others"));
    csv("on_site", &header, found.on_site.iter().map(on_site).collect())?;
    let bin = |b: &statistics::Bin| format!("{},{},{},{}", b.log10[0], b.log10[1], b.on_site, b.between);
    csv("histogram", "log10_from,log10_to,on_site,between", found.histogram.iter().map(bin).collect())?;
    for format in formats {
        let mut file = |stem: &str| {
            written.push(format.file(&out.join(stem)));
            written[written.len() - 1].clone()
        };
        decay::draw(&file("decay"), &decay_lines(found), "H (eV), S (1)")?;
        let bars = |name: &str, count: fn(&statistics::Bin) -> usize| histogram::Bars {
            name: name.into(),
            bins: found.histogram.iter().map(|bin| (bin.log10, count(bin) as f64)).collect(),
        };
        let series = [bars("between atoms", |bin| bin.between), bars("on-site", |bin| bin.on_site)];
        histogram::draw(&file("histogram"), &series, "log10 |H| (eV)", "matrix elements")?;
        let per_structure = 1.0 / found.structures.max(1) as f64;
        let bins = found.by_distance.iter().filter_map(|g| Some((g.from_to?, g.pairs as f64 * per_structure)));
        let pairs = histogram::Bars { name: "pairs of atoms".into(), bins: bins.collect() };
        histogram::draw(&file("pairs"), &[pairs], "distance of the atoms (angstrom)", "pairs a structure")?;
    }
    Ok(written)
}

fn decay_lines(found: &Statistics) -> Vec<decay::Line> {
    let line = |name: &str, value: &dyn Fn(&Group) -> Option<f64>| {
        let point = |group: &Group| Some(((group.from_to?[0] + group.from_to?[1]) / 2.0, value(group)?));
        (name.to_string(), found.by_distance.iter().filter_map(point).collect())
    };
    vec![
        line("largest |H|", &|g| Some(g.hamiltonian?.max_abs)),
        line("mean |H|", &|g| Some(g.hamiltonian?.mean_abs)),
        line("largest |S|", &|g| Some(g.overlap?.max_abs)),
        line("mean |S|", &|g| Some(g.overlap?.mean_abs)),
    ]
}

fn numbers(values: Option<Values>) -> String {
    values.map_or(",,,,".into(), |v| format!("{},{},{},{},{}", v.elements, v.mean, v.std, v.mean_abs, v.max_abs))
}

fn group_line(group: &Group) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let [from, to] = group.from_to.map_or([String::new(), String::new()], |ends| ends.map(|x| x.to_string()));
    let (pair, shells) = (text(&group.element_pair), text(&group.shells));
    format!("{pair},{shells},{from},{to},{},{},{}", group.pairs, numbers(group.hamiltonian), numbers(group.overlap))
}

/// The statistics on one screen.
pub fn stats_screen(found: &Statistics) -> String {
    let row = |cells: [&str; 4]| cells.map(String::from).to_vec();
    let sizes = |name: &str, s: &statistics::Sizes| {
        vec![name.into(), s.least.to_string(), format!("{:.1}", s.mean), s.most.to_string()]
    };
    let head = row(["a structure", "least", "mean", "most"]);
    let rows = [head, sizes("atoms", &found.atoms), sizes("orbitals", &found.orbitals), sizes("pairs", &found.pairs)];
    let mut text = format!("{} structures\n\n{}", found.structures, table(&rows));
    let number = |x: Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.2e}"));
    let group = |name: String, g: &Group| {
        let [h, s] = [g.hamiltonian, g.overlap];
        let values = [h.map(|v| v.mean_abs), h.map(|v| v.max_abs), s.map(|v| v.mean_abs), s.map(|v| v.max_abs)];
        [name, g.pairs.to_string()].into_iter().chain(values.map(number)).collect::<Vec<_>>()
    };
    let titled =
        |first: &str| [first, "pairs", "mean |H| eV", "max |H| eV", "mean |S|", "max |S|"].map(String::from).to_vec();
    let mut list = |first: &str, lines: Vec<Vec<String>>| {
        let more = lines.len().saturating_sub(MOST_LINES);
        let rows: Vec<_> = [titled(first)].into_iter().chain(lines.into_iter().take(MOST_LINES)).collect();
        text += &format!("\n{}", table(&rows));
        if more > 0 {
            text += &format!("... and {more} more (--out DIR has all)\n");
        }
    };
    let named = |g: &Group| group(g.element_pair.clone().unwrap_or_default(), g);
    list("between atoms", found.by_element_pair.iter().map(named).collect());
    // Every so many-th range, so that the whole decay is on the screen.
    let step = found.by_distance.len().div_ceil(MOST_LINES).max(1);
    let range = |g: &Group| {
        let [from, to] = g.from_to.unwrap_or_default();
        group(format!("{from:.2} to {to:.2} A"), g)
    };
    list("distance", found.by_distance.iter().step_by(step).map(range).collect());
    let head = ["on-site", "energy eV", "std eV", "others mean |H|", "max |H|"].map(String::from).to_vec();
    let own = found.on_site.iter().filter(|o| o.diagonal.is_some());
    let lines = own.clone().take(2 * MOST_LINES).map(|o| {
        let diagonal =
            o.diagonal.map_or(["-".into(), "-".into()], |d| [format!("{:.4}", d.mean), format!("{:.4}", d.std)]);
        let others = [o.others.map(|v| v.mean_abs), o.others.map(|v| v.max_abs)].map(number);
        [format!("{} {}", o.element, o.shells)].into_iter().chain(diagonal).chain(others).collect()
    });
    text += &format!("\n{}", table(&[head].into_iter().chain(lines).collect::<Vec<_>>()));
    let more = own.count().saturating_sub(2 * MOST_LINES);
    if more > 0 {
        text += &format!("... and {more} more (--out DIR has all)\n");
    }
    text
}
