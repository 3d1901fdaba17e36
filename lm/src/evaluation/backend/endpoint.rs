//! A model behind an OpenAI-compatible endpoint: completions, with log-probabilities where the server echoes them, and chat
//! completions.

use super::{Backend, Tell};
use crate::evaluation::request::{Decoding, Prompt, Request, Response};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Where the model is and how it is asked.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointOptions {
    /// Up to and with `/v1`.
    pub url: String,
    /// Name of the model there.
    pub model: String,
    /// Environment variable that holds the key; without the variable no key is sent.
    #[serde(default = "key_variable")]
    pub key_variable: String,
    /// Most requests under way at a time.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// Most tries of one request after the first, for replies that may pass (429, 5xx, no connection).
    #[serde(default = "retries")]
    pub retries: u32,
    /// Seconds before a try is given up.
    #[serde(default = "timeout")]
    pub timeout_s: u64,
}

fn key_variable() -> String {
    "OPENAI_API_KEY".into()
}
fn concurrency() -> usize {
    8
}
fn retries() -> u32 {
    5
}
fn timeout() -> u64 {
    600
}

/// First wait before another try; each further one waits twice as long, a minute at most.
const WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An endpoint.
pub struct Endpoint {
    options: EndpointOptions,
    identity: String,
    agent: ureq::Agent,
    key: Option<String>,
}

/// What became of one try.
enum Failure {
    /// May pass: worth another try, after so long if the server says.
    Passing(String, Option<Duration>),
    /// Will not.
    Lasting(String),
}

impl Endpoint {
    /// The key is read from the environment now and appears nowhere else.
    ///
    /// # Errors
    /// [`Error::Config`] for a URL that is none, or no concurrency.
    pub fn new(options: EndpointOptions) -> Result<Self> {
        if !(options.url.starts_with("http://") || options.url.starts_with("https://")) {
            return Err(Error::config("url", format!("expected http:// or https://, found {:?}", options.url)));
        }
        if options.concurrency == 0 {
            return Err(Error::config("concurrency", "expected at least 1, found 0"));
        }
        let timeout = Some(Duration::from_secs(options.timeout_s.max(1)));
        let config = ureq::Agent::config_builder().timeout_global(timeout).http_status_as_error(false).build();
        let key = std::env::var(&options.key_variable).ok().filter(|key| !key.is_empty());
        let url = options.url.trim_end_matches('/').to_string();
        let identity = format!("endpoint:{url}:{}", options.model);
        Ok(Endpoint { options: EndpointOptions { url, ..options }, identity, agent: config.into(), key })
    }

    /// One request with its tries.
    fn respond(&self, request: &Request) -> Result<Response> {
        let (path, body) = self.body(request)?;
        let mut wait = WAIT;
        let mut tries = 0;
        loop {
            let what = match self.post(path, &body) {
                Ok(reply) => return read(request, &reply).map_err(|what| self.fail(path, what)),
                Err(Failure::Lasting(what)) => return Err(self.fail(path, what)),
                Err(Failure::Passing(what, _)) if tries >= self.options.retries => {
                    return Err(self.fail(path, format!("{what}, {} tries", tries + 1)));
                }
                Err(Failure::Passing(_, asked)) => asked.unwrap_or(wait),
            };
            std::thread::sleep(what.min(LONGEST_WAIT));
            wait = (wait * 2).min(LONGEST_WAIT);
            tries += 1;
        }
    }

    fn fail(&self, path: &str, what: String) -> Error {
        let path = format!("{}/{path}", self.options.url).into();
        Error::Io { path, source: std::io::Error::other(what) }
    }

    fn body(&self, request: &Request) -> Result<(&'static str, Value)> {
        let model = &self.options.model;
        let generation = |decoding: &Decoding| {
            json!({"model": model, "max_tokens": decoding.max_tokens, "temperature": decoding.temperature,
                "top_p": decoding.top_p, "seed": decoding.seed, "stop": decoding.stop})
        };
        let scored = |text: String| json!({"model": model, "prompt": text, "max_tokens": 0, "temperature": 0, "logprobs": 1, "echo": true});
        match request {
            Request::Generate { prompt: Prompt::Text(text), decoding } => {
                let mut body = generation(decoding);
                body["prompt"] = json!(text);
                Ok(("completions", body))
            }
            Request::Generate { prompt: Prompt::Chat(turns), decoding } => {
                let mut body = generation(decoding);
                body["messages"] = json!(turns);
                if turns.last().is_some_and(|turn| turn.role == "assistant") {
                    // vLLM's names; a server that does not know them answers with a turn of its own.
                    body["continue_final_message"] = json!(true);
                    body["add_generation_prompt"] = json!(false);
                }
                Ok(("chat/completions", body))
            }
            Request::LogLikelihood { prompt: Prompt::Text(text), continuation } => {
                Ok(("completions", scored(format!("{text}{continuation}"))))
            }
            Request::Rolling { text } => Ok(("completions", scored(text.clone()))),
            Request::LogLikelihood { prompt: Prompt::Chat(_), .. } => {
                let what = "expected a text: an endpoint does not tell log-probabilities of given turns";
                Err(Error::config("prompt", what))
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> std::result::Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}/{path}", self.options.url));
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut reply = request.send_json(body).map_err(|e| Failure::Passing(e.to_string(), None))?;
        let status = reply.status().as_u16();
        let after = reply.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = reply.body_mut().read_to_string().map_err(|e| Failure::Passing(e.to_string(), None))?;
        match status {
            200..300 => serde_json::from_str(&text).map_err(|e| Failure::Lasting(format!("expected JSON: {e}"))),
            408 | 409 | 429 | 500.. => {
                Err(Failure::Passing(format!("status {status}: {}", cut(&text)), after.map(Duration::from_secs)))
            }
            _ => Err(Failure::Lasting(format!("status {status}: {}", cut(&text)))),
        }
    }
}

fn cut(text: &str) -> String {
    text.trim().chars().take(300).collect()
}

/// The answer in a reply; else what is missing there.
fn read(request: &Request, reply: &Value) -> std::result::Result<Response, String> {
    let choice = &reply["choices"][0];
    match request {
        Request::Generate { prompt, decoding } => {
            let (field, text) = match prompt {
                Prompt::Text(_) => ("choices[0].text", &choice["text"]),
                Prompt::Chat(_) => ("choices[0].message.content", &choice["message"]["content"]),
            };
            let text = text.as_str().ok_or_else(|| format!("{field}: expected a text, found {text}"))?;
            // Some servers leave the stop string in.
            let ends = decoding.stop.iter().filter(|stop| !stop.is_empty());
            let end = ends.filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
            Ok(Response::Text { text: text[..end].to_string() })
        }
        Request::LogLikelihood { prompt: Prompt::Text(text), .. } => scored(choice, text.trim_end().chars().count()),
        Request::LogLikelihood { .. } => Err("expected a text".into()),
        Request::Rolling { .. } => scored(choice, 0),
    }
}

/// Sum over the tokens that begin at character `from` or later; the first token of all has no log-probability.
fn scored(choice: &Value, from: usize) -> std::result::Result<Response, String> {
    let found = &choice["logprobs"];
    let list = |field: &str| {
        found[field].as_array().ok_or_else(|| {
            format!("choices[0].logprobs.{field}: expected a list (a server that echoes log-probabilities), found none")
        })
    };
    let (offsets, probabilities, names) = (list("text_offset")?, list("token_logprobs")?, list("tokens")?);
    let tops = found["top_logprobs"].as_array();
    let (mut sum, mut tokens, mut greedy) = (0.0, 0, true);
    for (place, (offset, probability)) in offsets.iter().zip(probabilities).enumerate() {
        let (Some(offset), Some(probability)) = (offset.as_u64(), probability.as_f64()) else { continue };
        if (offset as usize) < from {
            continue;
        }
        sum += probability;
        tokens += 1;
        let best = tops.and_then(|tops| tops.get(place)?.as_object()).map(|top| {
            let best = top.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
            names.get(place).and_then(Value::as_str).is_some_and(|name| top.contains_key(name)) && probability >= best
        });
        greedy &= best.unwrap_or(false);
    }
    if tokens == 0 {
        return Err("choices[0].logprobs: expected a token of the continuation, found none".into());
    }
    Ok(Response::LogLikelihood { sum, tokens, greedy })
}

impl Backend for Endpoint {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.options.concurrency.min(requests.len()) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while let Some((place, request)) = {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        requests.get(place).map(|request| (place, request))
                    } {
                        // Nobody listening: a failure has ended the run.
                        if sender.send((place, self.respond(request))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut failed = None;
            for (place, answer) in receiver {
                match answer.and_then(|response| tell(place, response)) {
                    Ok(()) => {}
                    Err(error) => {
                        // What is under way is paid for and kept; nothing new begins.
                        next.store(requests.len(), Ordering::Relaxed);
                        failed.get_or_insert(error);
                    }
                }
            }
            failed.map_or(Ok(()), Err)
        })
    }
}

#[cfg(test)]
mod tests;
