//! Chat templates: the Jinja text by which a model's conversations are written out, as transformers runs them.

use crate::model::weights::{Layout, gguf};
use crate::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, as a rule.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: &str, content: &str) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// A model's template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    text: String,
    source: PathBuf,
    beginning: String,
    end: String,
}

impl ChatTemplate {
    /// The template of a model, or of a folder with a tokenizer alone: `chat_template.jinja`, else `chat_template` of
    /// `tokenizer_config.json` (of several, the one named `default`), with the texts of the special tokens from there; else what a
    /// GGUF file holds. `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let gguf = match Layout::of(path) {
            Ok(Layout::Gguf(file)) => Some(file),
            _ => None,
        };
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        if let Some(found) = Self::of_folder(folder)? {
            return Ok(Some(found));
        }
        let Some(source) = gguf else { return Ok(None) };
        let found = gguf::chat_template(&source)?;
        Ok(found.map(|[text, beginning, end]| ChatTemplate { text, source, beginning, end }))
    }

    fn of_folder(folder: &Path) -> Result<Option<Self>> {
        let config_file = folder.join("tokenizer_config.json");
        let config: serde_json::Value = match std::fs::read_to_string(&config_file) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| Error::format(&config_file, e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => serde_json::Value::Null,
            Err(e) => return Err(Error::io(&config_file)(e)),
        };
        // A token is its text, or an object with the text as `content`.
        let token = |key: &str| {
            let token = &config[key];
            token.as_str().or(token["content"].as_str()).unwrap_or_default().to_string()
        };
        let (beginning, end) = (token("bos_token"), token("eos_token"));
        let file = folder.join("chat_template.jinja");
        if file.is_file() {
            let text = std::fs::read_to_string(&file).map_err(Error::io(&file))?;
            return Ok(Some(ChatTemplate { text, source: file, beginning, end }));
        }
        let named = |list: &Vec<serde_json::Value>| {
            let default = list.iter().find(|t| t["name"] == "default").or(list.first());
            default.and_then(|t| t["template"].as_str().map(String::from))
        };
        let template = &config["chat_template"];
        let text = template.as_str().map(String::from).or_else(|| template.as_array().and_then(named));
        Ok(text.map(|text| ChatTemplate { text, source: config_file, beginning, end }))
    }

    /// A template from its text; `source` is for the messages.
    pub fn new(text: &str, source: &Path, beginning: &str, end: &str) -> Self {
        ChatTemplate { text: text.into(), source: source.into(), beginning: beginning.into(), end: end.into() }
    }

    /// The conversation written out; `prompt`: up to where the answer of the assistant begins.
    ///
    /// # Errors
    /// [`Error::Format`] with the file and what the template complains about.
    pub fn render(&self, messages: &[Message], prompt: bool) -> Result<String> {
        let mut environment = Environment::new();
        let fail = |e: minijinja::Error| Error::format(&self.source, format!("chat template: {e}"));
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(fail)?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |what: String| -> std::result::Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, what))
        });
        let template = environment.template_from_str(&self.text).map_err(fail)?;
        let rendered = template.render(context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => prompt,
            bos_token => &self.beginning,
            eos_token => &self.end,
        });
        rendered.map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: &str = "{{ bos_token }}{% for m in messages %}
    {%- if m.role not in ['user', 'assistant'] %}{{ raise_exception('no role ' + m.role) }}{% endif %}
    <{{ m['role'].upper() }}>{{ m['content'].strip() }}{{ eos_token }}
    {% endfor %}
    {% if add_generation_prompt %}<ASSISTANT>{% endif %}";

    fn template() -> ChatTemplate {
        ChatTemplate::new(TURNS, "model/chat_template.jinja".as_ref(), "<s>", "</s>")
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_known() {
        let messages = [Message::new("user", " hi "), Message::new("assistant", "yes")];
        let text = template().render(&messages, true).unwrap();
        // By hand, from the rules: a newline after a block goes, blanks before a block go.
        assert_eq!(text, "<s>    <USER>hi</s>\n    <ASSISTANT>yes</s>\n<ASSISTANT>");
        assert!(!template().render(&messages, false).unwrap().ends_with("<ASSISTANT>"));
    }

    #[test]
    fn what_the_template_refuses_is_told_with_its_file() {
        let message = template().render(&[Message::new("tool", "x")], false).unwrap_err().to_string();
        assert!(message.starts_with("model/chat_template.jinja: chat template: "), "{message}");
        assert!(message.contains("no role tool"), "{message}");
    }

    #[test]
    fn found_in_a_folder_under_either_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ChatTemplate::open(folder.path()).unwrap().is_none());
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let list = r#"{"bos_token": {"content": "<b>"}, "eos_token": "<e>", "chat_template":
            [{"name": "tools", "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ eos_token }}"}]}"#;
        write("tokenizer_config.json", list);
        assert_eq!(ChatTemplate::open(folder.path()).unwrap().unwrap().render(&[], false).unwrap(), "<b><e>");
        write("chat_template.jinja", "{{ messages | length }}");
        let messages = [Message::new("user", "x")];
        assert_eq!(ChatTemplate::open(folder.path()).unwrap().unwrap().render(&messages, false).unwrap(), "1");
        write("tokenizer_config.json", "{");
        assert!(ChatTemplate::open(folder.path()).is_err());
    }
}
