//! Classes by number or by name.

use flowmap_data::Warning;

use crate::presets::nearest;
use crate::{Error, ModelConfig, Result};

impl ModelConfig {
    /// The class that a text means: a number, or the name of a class; and the doubt about a number that is a name too.
    ///
    /// A number is not compared with the number of classes, which sampling does.
    ///
    /// # Errors
    /// [`Error::ClassName`] for a name that no class has.
    pub fn class_of(&self, text: &str) -> Result<(u32, Option<Warning>)> {
        let named = self.class_names.iter().position(|name| name == text);
        if let Ok(number) = text.parse::<u32>() {
            let doubt = named.filter(|named| *named != number as usize).map(|named| Warning {
                subject: format!("--class {text}"),
                seen: format!(
                    "`{text}` is the number of one class and the name of another, whose number is {named}"
                ),
                consequence: format!("class {number} is sampled{}", self.in_quotes(number)),
                remedy: format!("ask for --class {named} if the class of that name is meant"),
            });
            return Ok((number, doubt));
        }
        let named = named.and_then(|named| u32::try_from(named).ok());
        named.map(|class| (class, None)).ok_or_else(|| Error::ClassName {
            found: text.to_owned(),
            nearest: nearest(text, self.class_names.iter().map(String::as_str)).map(str::to_owned),
            names: self.class_names.clone(),
        })
    }

    /// The name of a class for a sentence.
    fn in_quotes(&self, class: u32) -> String {
        self.class_names.get(class as usize).map_or(String::new(), |name| format!(", which is `{name}`"))
    }
}
