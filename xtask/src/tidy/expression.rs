//! SPDX license expressions: may a package with this license be used?
//!
//! ```text
//! either := both  (("OR" | "/") both)*
//! both   := unit  ("AND" unit)*
//! unit   := "(" either ")" | NAME ("WITH" NAME)?
//! ```
//! The slash is the old spelling of OR that some packages still have.

use anyhow::{Result, bail, ensure};

/// Whether the allowed names satisfy the expression.
///
/// A name with an exception is allowed only if the list holds `NAME WITH EXCEPTION`, as in cargo-deny.
///
/// # Errors
/// The text is no license expression.
pub fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " / ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens, allowed };
    let answer = parser.either()?;
    ensure!(
        parser.tokens.is_empty(),
        "expected the end of `{expression}`, found `{}`",
        parser.tokens.join(" ")
    );
    Ok(answer)
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    allowed: &'a [String],
}

impl Parser<'_> {
    fn either(&mut self) -> Result<bool> {
        let mut answer = self.both()?;
        while self.take("OR") || self.take("/") {
            answer |= self.both()?;
        }
        Ok(answer)
    }

    fn both(&mut self) -> Result<bool> {
        let mut answer = self.unit()?;
        while self.take("AND") {
            answer &= self.unit()?;
        }
        Ok(answer)
    }

    fn unit(&mut self) -> Result<bool> {
        if self.take("(") {
            let answer = self.either()?;
            ensure!(self.take(")"), "expected `)`");
            return Ok(answer);
        }
        let mut name = self.name()?.to_owned();
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Ok(self.allowed.contains(&name))
    }

    fn name(&mut self) -> Result<&str> {
        match self.tokens.split_first() {
            Some((name, rest)) if !["(", ")", "/", "OR", "AND", "WITH"].contains(name) => {
                self.tokens = rest;
                Ok(name)
            }
            Some((other, _)) => bail!("expected the name of a license, found `{other}`"),
            None => bail!("expected the name of a license, found the end"),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if *first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expect: bool) {
        let allowed =
            ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        assert_eq!(is_allowed(expression, &allowed).unwrap(), expect, "{expression}");
    }

    #[test]
    fn one_name_must_be_on_the_list() {
        check("MIT", true);
        check("GPL-3.0-only", false);
    }

    #[test]
    fn or_needs_one_side() {
        check("GPL-3.0-only OR MIT", true);
        check("GPL-3.0-only OR AGPL-3.0", false);
    }

    #[test]
    fn a_slash_is_an_or() {
        check("Unlicense/MIT", true);
        check("Apache-2.0 / GPL-2.0", true);
        check("Unlicense/GPL-2.0", false);
    }

    #[test]
    fn and_needs_both_sides() {
        check("MIT AND Unicode-3.0", true);
        check("MIT AND GPL-3.0-only", false);
    }

    #[test]
    fn and_binds_tighter_than_or() {
        check("MIT OR GPL-3.0-only AND AGPL-3.0", true);
        check("GPL-3.0-only AND AGPL-3.0 OR MIT", true);
        check("(MIT OR GPL-3.0-only) AND AGPL-3.0", false);
    }

    #[test]
    fn parentheses_nest() {
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("((GPL-3.0-only) OR (MIT AND (Unicode-3.0)))", true);
    }

    #[test]
    fn an_exception_is_part_of_the_name() {
        check("Apache-2.0 WITH LLVM-exception", true);
        check("MIT WITH LLVM-exception", false);
        check("GPL-2.0 WITH Classpath-exception-2.0 OR MIT", true);
    }

    #[test]
    fn text_that_is_no_expression_is_an_error() {
        for text in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH", "()"] {
            assert!(is_allowed(text, &[]).is_err(), "{text}");
        }
    }
}
