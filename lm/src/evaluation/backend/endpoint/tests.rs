//! Against a server on this machine that speaks the protocol and fails on demand.

use super::*;
use crate::model::chat::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

type Reply = dyn Fn(usize, &str, &Value) -> (u16, Value) + Send + Sync;

/// What a server has seen.
#[derive(Default)]
struct Seen {
    requests: usize,
    under_way: usize,
    most: usize,
    authorization: Option<String>,
}

/// Serves until the test's process ends; its URL and what it sees.
fn serve(reply: Box<Reply>) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (seen, reply) = (Arc::new(Mutex::new(Seen::default())), Arc::new(reply));
    let watching = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (seen, reply) = (Arc::clone(&watching), Arc::clone(&reply));
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let path = line.split(' ').nth(1).unwrap_or_default().to_string();
                let (mut length, mut authorization) = (0, None);
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).unwrap();
                    let Some((name, value)) = header.trim().split_once(": ") else { break };
                    match name.to_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "authorization" => authorization = Some(value.to_string()),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.requests += 1;
                    seen.under_way += 1;
                    seen.most = seen.most.max(seen.under_way);
                    seen.authorization = authorization.or(seen.authorization.take());
                    seen.requests
                };
                let (status, value) = reply(number, &path, &serde_json::from_slice(&body).unwrap());
                std::thread::sleep(Duration::from_millis(20));
                seen.lock().unwrap().under_way -= 1;
                let text = value.to_string();
                let head = format!("HTTP/1.1 {status} x\r\nRetry-After: 0\r\nConnection: close\r\n");
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len());
            });
        }
    });
    (url, seen)
}

fn endpoint(url: String, key_variable: &str, concurrency: usize) -> Endpoint {
    let (model, key_variable) = ("m".into(), key_variable.into());
    Endpoint::new(EndpointOptions { url, model, key_variable, concurrency, retries: 2, timeout_s: 10 }).unwrap()
}

fn answers(endpoint: &Endpoint, requests: &[Request]) -> Result<Vec<Option<Response>>> {
    let mut found = vec![None; requests.len()];
    let told = endpoint.answer(requests, &mut |place, response| {
        found[place] = Some(response);
        Ok(())
    });
    told.map(|()| found)
}

#[test]
fn texts_turns_and_log_probabilities() {
    let (url, seen) = serve(Box::new(|_, path, body| match (path, body["echo"].as_bool()) {
        ("/v1/completions", Some(true)) => {
            assert_eq!(body["prompt"], "ab cd");
            let logprobs = json!({"tokens": ["ab", " c", "d"], "text_offset": [0, 2, 4],
                "token_logprobs": [null, -1.5, -0.25], "top_logprobs": [null, {" x": -0.5}, {"d": -0.25}]});
            (200, json!({"choices": [{"text": "ab cd", "logprobs": logprobs}]}))
        }
        ("/v1/completions", None) => (200, json!({"choices": [{"text": format!("{} said.\nmore", body["prompt"])}]})),
        ("/v1/chat/completions", None) => {
            let last = body["messages"].as_array().unwrap().last().unwrap();
            (200, json!({"choices": [{"message": {"content": last["content"]}}]}))
        }
        _ => (404, json!({})),
    }));
    let endpoint = endpoint(url, "HOME", 2);
    let asked = [
        Request::log_likelihood("ab", " cd"),
        Request::log_likelihood("ab ", "cd"),
        Request::generate("p", Decoding::greedy(5, &["\n"])),
        Request::generate(vec![Message::new("user", "hello")], Decoding::greedy(5, &[])),
    ];
    let found: Vec<Response> = answers(&endpoint, &asked).unwrap().into_iter().map(Option::unwrap).collect();
    assert_eq!(found[0], Response::LogLikelihood { sum: -1.75, tokens: 2, greedy: false });
    assert_eq!(found[1], found[0]);
    assert_eq!((found[2].text(), found[3].text()), ("\"p\" said.", "hello"));
    let seen = seen.lock().unwrap();
    assert!(seen.most <= 2, "{} at a time", seen.most);
    assert_eq!(seen.authorization, std::env::var("HOME").ok().map(|key| format!("Bearer {key}")));
}

#[test]
fn what_passes_is_tried_again_and_what_lasts_is_told() {
    let text = |text: &str| json!({"choices": [{"text": text}]});
    let (url, seen) = serve(Box::new(move |number, _, _| match number {
        1 => (500, json!({})),
        2 => (429, json!({})),
        _ => (200, text("third")),
    }));
    let ask = [Request::generate("p", Decoding::default())];
    let found = answers(&endpoint(url, "NO_SUCH_VARIABLE", 1), &ask).unwrap();
    assert_eq!(found[0].as_ref().unwrap().text(), "third");
    let seen = seen.lock().unwrap();
    assert_eq!((seen.requests, &seen.authorization), (3, &None));

    let (url, seen) = serve(Box::new(|_, _, _| (503, json!({"error": "full"}))));
    let message = answers(&endpoint(url, "NO_SUCH_VARIABLE", 1), &ask).unwrap_err().to_string();
    assert!(message.contains("503") && message.contains("full") && message.contains("3 tries"), "{message}");
    assert_eq!(seen.lock().unwrap().requests, 3);

    let (url, seen) = serve(Box::new(|_, _, _| (400, json!({"error": "no such model"}))));
    let message = answers(&endpoint(url, "NO_SUCH_VARIABLE", 1), &ask).unwrap_err().to_string();
    assert!(message.contains("400") && message.contains("no such model"), "{message}");
    assert_eq!(seen.lock().unwrap().requests, 1);

    let (url, _) = serve(Box::new(|_, _, _| (200, json!({"choices": []}))));
    let message = answers(&endpoint(url, "NO_SUCH_VARIABLE", 1), &ask).unwrap_err().to_string();
    assert!(message.contains("choices[0].text: expected a text, found null"), "{message}");
}

#[test]
fn after_a_failure_nothing_new_begins_and_what_came_before_is_told() {
    let (url, seen) = serve(Box::new(|_, _, body| match body["prompt"].as_str() {
        Some("bad") => (400, json!({})),
        _ => (200, json!({"choices": [{"text": "fine"}]})),
    }));
    let prompts = ["a", "b", "bad", "c", "d", "e", "f"];
    let requests: Vec<Request> = prompts.iter().map(|p| Request::generate(*p, Decoding::default())).collect();
    let mut told = Vec::new();
    let outcome = endpoint(url, "NO_SUCH_VARIABLE", 1).answer(&requests, &mut |place, _| {
        told.push(place);
        Ok(())
    });
    assert!(outcome.is_err() && told.starts_with(&[0, 1]), "{told:?}");
    assert!(seen.lock().unwrap().requests < 7);
}

#[test]
fn an_address_that_is_none() {
    let options = |url: &str| serde_json::from_value(json!({"url": url, "model": "m"})).unwrap();
    let message = Endpoint::new(options("localhost:80")).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("expected http://"), "{message}");
}
