//! Rust source as the house rules see it: without comments, texts and tests.

use std::path::{Path, PathBuf};

/// The folder that holds the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate lies in the workspace").to_path_buf()
}

/// All files below `folder` whose name ends with one of `endings`, in order of their names; what builds and tools leave
/// behind is not looked at.
#[must_use]
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                let skipped = ["target", "dist", "node_modules"].contains(&name.as_str());
                if !skipped && (!name.starts_with('.') || name == ".ci") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text with comments, string and character literals replaced by blanks; lines stay where they are.
#[must_use]
pub fn code(text: &str) -> String {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, out: String::with_capacity(text.len()) };
    while reader.at < reader.chars.len() {
        reader.step();
    }
    reader.out
}

/// [`code`] up to the file's test module.
#[must_use]
pub fn code_without_tests(text: &str) -> String {
    code(without_tests(text))
}

/// The text up to its `#[cfg(test)]` module; all of it when there is none.
#[must_use]
pub fn without_tests(text: &str) -> &str {
    let marks = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(super) mod ", "\n#[cfg(all(test"];
    let module = marks.iter().filter_map(|mark| text.find(mark)).min();
    module.map_or(text, |end| &text[..=end])
}

/// Every function with a body in `code`: its name and its lines of code between the braces.
#[must_use]
pub fn functions(code: &str) -> Vec<(String, usize)> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let at = code[..at].chars().count();
        if at > 0 && is_name(chars[at - 1]) {
            continue;
        }
        let name: String = chars[at + 3..].iter().take_while(|c| is_name(**c)).collect();
        if let Some((open, close)) = body(&chars, at).filter(|_| !name.is_empty()) {
            let inside: String = chars[open + 1..close].iter().collect();
            found.push((name, inside.lines().filter(|line| !line.trim().is_empty()).count()));
        }
    }
    found
}

/// Whether `word` occurs in `code` as a whole name.
#[must_use]
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_name) || !before.is_some_and(is_name);
        let ends = !word.ends_with(is_name) || !after.is_some_and(is_name);
        starts && ends
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Places of the braces around the body of the function that starts at `at`; none for a declaration.
fn body(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let (mut depth, mut nesting, mut open) = (0_i32, 0_i32, None);
    for (i, c) in chars.iter().enumerate().skip(at) {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            ';' if open.is_none() && nesting == 0 => return None,
            '{' => {
                open = open.or(Some(i));
                depth += 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return open.map(|open| (open, i));
                }
            }
            _ => {}
        }
    }
    None
}

/// Walks the text once; whatever is no code leaves as blanks.
struct Reader {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        self.out.push(self.peek(0));
        self.at += 1;
    }

    fn blank(&mut self, count: usize) {
        for _ in 0..count {
            if self.at < self.chars.len() {
                self.out.push(if self.peek(0) == '\n' { '\n' } else { ' ' });
                self.at += 1;
            }
        }
    }

    fn step(&mut self) {
        let in_name = self.out.chars().next_back().is_some_and(is_name);
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.blank(1);
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.text(),
            ('b' | 'c', '"') if !in_name => {
                self.blank(1);
                self.text();
            }
            ('r', '"' | '#') if !in_name => self.raw_text(1),
            ('b' | 'c', 'r') if !in_name && matches!(self.peek(2), '"' | '#') => self.raw_text(2),
            ('\'', _) => self.character(),
            _ => self.keep(),
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.blank(2);
                }
                ('*', '/') => {
                    depth -= 1;
                    self.blank(2);
                }
                _ => self.blank(1),
            }
            if depth == 0 || self.at >= self.chars.len() {
                return;
            }
        }
    }

    fn text(&mut self) {
        self.blank(1);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            let escaped = self.peek(0) == '\\';
            self.blank(if escaped { 2 } else { 1 });
        }
        self.blank(1);
    }

    fn raw_text(&mut self, prefix: usize) {
        let hashes = self.chars[self.at + prefix..].iter().take_while(|c| **c == '#').count();
        if self.peek(prefix + hashes) != '"' {
            return self.keep();
        }
        self.blank(prefix + hashes + 1);
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|i| self.peek(i) == '#');
            self.blank(if closes { hashes + 1 } else { 1 });
            if closes {
                return;
            }
        }
    }

    /// A quote opens a character or names a lifetime.
    fn character(&mut self) {
        if self.peek(1) == '\\' {
            self.blank(3);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.blank(1);
            }
            self.blank(1);
        } else if self.peek(2) == '\'' {
            self.blank(3);
        } else {
            self.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_texts_and_characters_are_no_code() {
        let text =
            "a /* b /* c */ d */ e // f\n\"g \\\" h\" r#\"i \" j\"# 'k' '\\'' '\\u{1F}' <'l> b\"m\" r#fn";
        let words: Vec<String> = code(text).split_whitespace().map(ToString::to_string).collect();
        assert_eq!(words, ["a", "e", "<'l>", "r#fn"]);
        assert_eq!(code("\"x\ny\"\nz").lines().count(), 3);
    }

    #[test]
    fn a_function_is_measured_by_its_lines_of_code() {
        let text =
            "fn a(x: [u8; 2]) -> u8 {\n  // why\n\n  if x {\n    1\n  }\n}\ntrait T { fn b(); fn c() {} }";
        let found = functions(&code(text));
        assert_eq!(found, [("a".to_string(), 3), ("c".to_string(), 0)]);
    }

    #[test]
    fn a_word_is_found_only_whole() {
        assert!(has_word("use rand::Rng;", "rand"));
        assert!(!has_word("set_randomized(operand)", "rand"));
        assert!(has_word("a.unwrap()", ".unwrap()"));
        assert!(has_word("use std::fs;", "std::"));
        assert!(!has_word("use my_std::fs;", "std::"));
    }

    #[test]
    fn the_test_module_is_left_out() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {}"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\nfn b() {}"), "a\n#[cfg(test)]\nfn b() {}");
    }
}
