//! Turns written out as text, as the benchmark does for models that it does not ask through an interface of turns.

use crate::model::chat::Message;
use crate::{Error, Result};

/// For Llama-2 chat models: `<s>[INST] <<SYS>> … [/INST]`, the text as it goes to the tokenizer, which adds nothing.
///
/// # Errors
/// [`Error::Config`] unless a system turn, then user and assistant turns in alternation, the last of them the user's.
pub fn llama2(turns: &[Message]) -> Result<String> {
    let (system, turns) = conversation(turns)?;
    let mut text = format!("<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n");
    for turn in turns {
        match turn.role.as_str() {
            "assistant" => text += &format!(" {} </s><s>[INST] ", turn.content),
            _ => text += &format!("{} [/INST]", turn.content),
        }
    }
    Ok(text)
}

/// For Falcon chat models: `System: …`, `User: …`, `Falcon:` on lines of their own; the tokenizer adds special tokens.
///
/// # Errors
/// As [`llama2`].
pub fn falcon(turns: &[Message]) -> Result<String> {
    let (system, turns) = conversation(turns)?;
    let mut text = format!("System: {system}\n");
    for turn in turns {
        match turn.role.as_str() {
            "assistant" => text += &format!(" {}\n", turn.content),
            _ => text += &format!("User: {}\nFalcon:", turn.content),
        }
    }
    Ok(text)
}

/// For PaLM: the system's turn, an empty line, the user's.
///
/// # Errors
/// [`Error::Config`] unless these two turns are all.
pub fn palm(turns: &[Message]) -> Result<String> {
    match conversation(turns)? {
        (system, [user]) => Ok(format!("{system}\n\n{}", user.content)),
        (_, turns) => {
            Err(Error::config("turns", format!("expected a system and a user turn, found {} more", turns.len() - 1)))
        }
    }
}

/// The system's text, and the turns after it.
fn conversation(turns: &[Message]) -> Result<(&str, &[Message])> {
    let roles: Vec<&str> = turns.iter().map(|turn| turn.role.as_str()).collect();
    let alternate = |(place, role): (usize, &&str)| *role == if place % 2 == 0 { "user" } else { "assistant" };
    match (turns, roles.as_slice()) {
        ([system, rest @ ..], ["system", others @ .., "user"])
            if others.len() % 2 == 0 && others.iter().enumerate().all(alternate) =>
        {
            Ok((&system.content, rest))
        }
        _ => Err(Error::config(
            "turns",
            format!("expected a system turn, then user and assistant turns up to a user's, found {}", roles.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_out_of_order_are_refused() {
        let turn = |role: &str| Message::new(role, "x");
        for roles in [vec![], vec!["user"], vec!["system"], vec!["system", "assistant"], vec!["system", "user", "user"]]
        {
            let turns: Vec<Message> = roles.into_iter().map(turn).collect();
            assert!(llama2(&turns).is_err() && falcon(&turns).is_err() && palm(&turns).is_err(), "{turns:?}");
        }
        let four = ["system", "user", "assistant", "user"].map(turn);
        assert_eq!(llama2(&four).unwrap(), "<s>[INST] <<SYS>>\nx\n<</SYS>>\n\nx [/INST] x </s><s>[INST] x [/INST]");
        assert_eq!(palm(&four).unwrap_err().to_string(), "turns: expected a system and a user turn, found 2 more");
    }
}
