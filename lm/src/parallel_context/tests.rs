//! The model on random weights: gradients, order and number of contexts, both memories, search, and measurements.

use super::evaluate::{Measure, Source, alone};
use super::examples::ContextBatch;
use super::memory::{Keep, Reading};
use super::model::Trained;
use super::objective::{self, hidden_of_all};
use super::retrieval::{Neighbour, Retriever};
use super::shape::tests::tiny;
use super::windows::{Placing, Windows};
use super::*;
use crate::model::decoder::Cache;
use crate::objective::Batch;
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::kernels::backward;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::Gradients;
use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::gradcheck::worst_directional_error;
use tesseral_nn::{Init, Parameters};

fn weights(shape: &ContextShape, dtype: DType) -> BTreeMap<String, Tensor> {
    let parameters = Parameters::new(Streams::new(9), dtype, &Device::Cpu);
    for (name, dims) in files::names(shape) {
        parameters.root().parameter(&name, dims, Init::Normal(0.4)).unwrap();
    }
    parameters.snapshot().unwrap()
}

fn model(dtype: DType) -> ContextModel {
    ContextModel::from_tensors(&tiny(), &weights(&tiny(), dtype)).unwrap()
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
}

fn batch() -> ContextBatch {
    let ids: Vec<u32> = (0..13).map(|k| (k * k + 3) % 23).collect();
    let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    let contexts = vec![vec![vec![1, 2, 3], Vec::new(), vec![4, 5]], Vec::new(), vec![vec![6; 7]]];
    ContextBatch { text: Batch::new(&ids, &labels, &[6, 3, 4]).unwrap(), contexts }
}

#[test]
fn gradients_pass_through_the_frozen_decoder() {
    for mode in [EncodeMode::ContextOnly, EncodeMode::WithQuery(2), EncodeMode::WithQueryDropped(2)] {
        let shape = ContextShape { mode, ..tiny() };
        let parameters = Parameters::new(Streams::new(0), DType::F64, &Device::Cpu);
        let trained = Trained { encoder: true };
        let model = ContextModel::declare_from(&parameters, &shape, &weights(&shape, DType::F64), trained).unwrap();
        let gradients = backward(objective::loss(&model, &batch(), Reduction::Mean).unwrap()).unwrap();
        assert_every_variable_has_gradient(&parameters, &Gradients::collect(&parameters, &gradients)).unwrap();
        assert!(parameters.to_vec().iter().all(|(name, _)| trained.holds(name)));
        let loss = || Ok(objective::loss(&model, &batch(), Reduction::Sum).unwrap());
        let error = worst_directional_error(&parameters, Streams::new(1), 4, 1e-5, loss).unwrap();
        assert!(error < 1e-6, "{mode}: {error:e}");
    }
}

#[test]
fn a_batch_is_its_texts_alone_unless_all_read_all() {
    let (model, batch) = (model(DType::F64), batch());
    let together = objective::losses(&model, &batch).unwrap();
    let mut start = 0;
    for (n, contexts) in batch.text.lengths.iter().zip(&batch.contexts) {
        let text = Batch::whole(&batch.text.ids[start..start + n]).unwrap();
        let alone = objective::losses(&model, &ContextBatch { text, contexts: vec![contexts.clone()] }).unwrap();
        for (a, b) in together[start..start + n].iter().zip(alone) {
            assert!(a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 1e-12));
        }
        start += n;
    }
    let own = objective::hidden(&model, &batch).unwrap();
    let all = hidden_of_all(&model, &batch).unwrap();
    assert!(far(&own, &all) > 1e-3);
    let merged: Vec<Context> = batch.contexts.concat();
    let same = ContextBatch { contexts: vec![merged; 3], ..batch };
    assert!(far(&objective::hidden(&model, &same).unwrap(), &all) < 1e-12);
    assert!(model.encode(&[], &[1], &[1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn both_memories_are_the_model_however_they_are_read(
        lengths in prop::collection::vec(0usize..6, 0..5), block in 1usize..9, cut in 1usize..11, few in any::<bool>(),
    ) {
        let model = model(DType::F32);
        let contexts: Vec<Context> = lengths.iter().map(|n| (0..*n as u32).map(|k| (k * 5 + *n as u32) % 23).collect()).collect();
        let ids: Vec<u32> = (0..12).map(|k| (k * 7 + 1) % 23).collect();
        let states = model.encode(std::slice::from_ref(&contexts), &ids, &[12]).unwrap();
        let whole = model.hidden(&Arc::from(ids.as_slice()), &[12], states.as_ref()).unwrap();
        for keep in [Keep::States, Keep::KeysValues] {
            let memory = model.read(&contexts, &ids, Reading { keep, block }).unwrap();
            let mut cache = Cache::new(model.decoder().config(), 12);
            let pieces: Vec<&[u32]> = if few { ids.chunks(1).collect() } else { vec![&ids[..cut], &ids[cut..]] };
            let mut start = 0;
            for piece in pieces {
                let hidden = model.continue_from(&mut cache, piece, &memory).unwrap();
                prop_assert!(far(&hidden, &whole.narrow(0, start, piece.len()).unwrap()) < 2e-5);
                start += piece.len();
            }
        }
    }

    #[test]
    fn the_order_of_contexts_is_nothing(lengths in prop::collection::vec(1usize..6, 2..6), turn in 1usize..5) {
        let model = model(DType::F32);
        let mut contexts: Vec<Context> = lengths.iter().zip(0u32..).map(|(n, c)| vec![c; *n]).collect();
        let ids: Arc<[u32]> = Arc::from([3, 1, 4, 1, 5]);
        let run = |contexts: &Vec<Context>| {
            let states = model.encode(std::slice::from_ref(contexts), &ids, &[5]).unwrap();
            model.hidden(&ids, &[5], states.as_ref()).unwrap()
        };
        let before = run(&contexts);
        let middle = turn % contexts.len();
        contexts.rotate_left(middle);
        prop_assert!(far(&run(&contexts), &before) < 1e-5);
    }
}

#[test]
fn passages_are_found_by_rare_words_and_not_in_the_own_document() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    let texts = ["the moose swims in the lake", "the heron fishes at noon", "a moose eats leaves"].map(String::from);
    crate::model::tokenizer::learn::byte_pairs(&texts, 260, "<end>", &file).unwrap();
    let tokenizer = crate::model::tokenizer::Tokenizer::read(&file).unwrap();
    let documents: Vec<Vec<u32>> = texts.iter().map(|t| tokenizer.encode(t, true).unwrap()).collect();
    let query = tokenizer.encode("moose", true).unwrap();
    let found = |neighbour, own| {
        let retriever = Retriever::new(&documents, 12, neighbour, &tokenizer).unwrap();
        let found = retriever.find(&query, 9, own).unwrap();
        found.iter().map(|ids| tokenizer.decode(ids, false).unwrap()).collect::<Vec<_>>()
    };
    let all = found(Neighbour::None, None);
    assert!(all.len() == 2 && all.iter().all(|text| text.contains("moose")), "{all:?}");
    let other = found(Neighbour::None, Some(0));
    assert!(other.len() == 1 && texts[2].starts_with(&other[0]), "{other:?}");
    assert!(found(Neighbour::Joint, Some(0))[0].len() > other[0].len());
    let both = found(Neighbour::Separate, Some(0));
    assert!(both.len() == 2 && texts[2].contains(&both.concat()));
}

#[test]
fn measurements_without_contexts_are_the_wrapped_model() {
    let model = model(DType::F32);
    let documents: Vec<Vec<u32>> = (0..3u32).map(|d| (0..40).map(|k| (k * k + d) % 23).collect()).collect();
    let windows = Windows::new(&documents, 12, 8, Placing::Filtered).unwrap();
    let measure = |sources: &[Source], counts: &[usize], counted| Measure {
        counts: counts.to_vec(),
        context_tokens: 4,
        decoder_tokens: 8,
        counted,
        sources: sources.to_vec(),
        windows: 5,
    };
    let sources = [Source::Previous, Source::Shuffled, Source::Dummy, Source::InWindow, Source::Replug];
    let found = measure(&sources, &[0, 3], 5).run(&model, &windows, None).unwrap();
    let plain: Vec<f64> =
        (0..5).map(|k| alone(model.decoder(), windows.get(k * windows.len() / 5).1, 5).unwrap()).collect();
    let plain = plain.iter().sum::<f64>() / 5.0;
    for point in &found {
        assert_eq!(point.windows, 5);
        let same = (point.loss - plain).abs() < 1e-6;
        assert_eq!(same, point.contexts == 0, "{point:?}");
    }
    assert!(measure(&sources, &[0], 8).run(&model, &windows, None).is_err());
    assert!(measure(&[Source::Retrieved], &[1], 5).run(&model, &windows, None).is_err());
}
