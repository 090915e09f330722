//! What a reader of `/logging` asks for, checked.

use crate::limits;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Jsonl,
}

/// Whose lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Own,
    Cluster,
}

/// The parameters of `GET /logging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// Only lines above this number; none: the newest lines.
    pub(crate) after: Option<u64>,
    pub(crate) limit: usize,
    /// None: the reader named none.
    pub(crate) format: Option<Format>,
    pub(crate) follow: bool,
    pub(crate) incarnation: Option<String>,
    pub(crate) source: Source,
}

/// A parameter that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {detail}, this is {value:?}")]
pub(crate) struct BadParameter {
    name: String,
    detail: String,
    value: String,
}

impl Query {
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, BadParameter> {
        let mut query = Self {
            after: None,
            limit: limits::PAGE_LINES,
            format: None,
            follow: false,
            incarnation: None,
            source: Source::Own,
        };
        for (name, value) in pairs {
            query.set(name, value).map_err(|detail| BadParameter {
                name: name.chars().take(64).collect(),
                detail,
                value: value.chars().take(64).collect(),
            })?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "after" => {
                self.after = Some(value.parse().map_err(|_| "must be the number of a line".to_string())?);
            }
            "limit" => {
                let most = limits::PAGE_LINES_MOST;
                let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                self.limit = limit.ok_or_else(|| format!("must be a number from 1 to {most}"))?;
            }
            "format" => {
                self.format = Some(match value {
                    "text" => Format::Text,
                    "jsonl" => Format::Jsonl,
                    _ => return Err("must be text or jsonl".to_string()),
                });
            }
            "follow" => {
                self.follow = match value {
                    "" | "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err("must be 1 or 0".to_string()),
                };
            }
            "incarnation" => self.incarnation = Some(value.to_string()),
            "source" if value == "cluster" => self.source = Source::Cluster,
            "source" => return Err("must be cluster".to_string()),
            _ => {
                let known = "after, limit, format, follow, incarnation and source";
                return Err(format!("is not known (known are {known})"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Query, BadParameter> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Query::read(&pairs)
    }

    #[test]
    fn a_bad_parameter_is_named_with_what_it_should_be() {
        for (name, value) in [
            ("after", "x"),
            ("after", "-1"),
            ("limit", "0"),
            ("limit", "10001"),
            ("format", "xml"),
            ("follow", "maybe"),
            ("source", "n1"),
            ("afer", "1"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("parameter {name}: ")) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn everything_is_optional() {
        let query = read(&[]).unwrap();
        assert_eq!((query.after, query.limit, query.follow), (None, limits::PAGE_LINES, false));
        let query =
            read(&[("after", "7"), ("follow", "1"), ("format", "jsonl"), ("source", "cluster")]).unwrap();
        assert_eq!(
            (query.after, query.format, query.source),
            (Some(7), Some(Format::Jsonl), Source::Cluster)
        );
    }
}
