//! Lists that come page by page: how many are wanted, and where a list goes on.

use clap::Args;

use crate::lang::Lang;

/// The most that is asked for at once.
const PAGE: u32 = 200;

/// How much of a list is wanted.
#[derive(Args, Debug)]
pub(crate) struct Paging {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where a list ended.
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
}

impl Paging {
    /// Asks for page after page, by its size and token, until there are enough or no more. Gives what was found and the token
    /// of what comes next, which is empty after the last.
    pub(crate) async fn collect<T>(
        &self,
        mut ask: impl AsyncFnMut(u32, String) -> anyhow::Result<(Vec<T>, String)>,
    ) -> anyhow::Result<(Vec<T>, String)> {
        let (mut found, mut next) = (Vec::new(), self.page_token.clone().unwrap_or_default());
        loop {
            let missing = self.limit.saturating_sub(u32::try_from(found.len())?);
            let (page, after) = ask(missing.min(PAGE), next).await?;
            found.extend(page);
            next = after;
            if next.is_empty() || found.len() >= self.limit as usize {
                return Ok((found, next));
            }
        }
    }
}

/// Tells a person how a list goes on, if it does.
pub(crate) fn tell_of_more(next: &str, lang: Lang) {
    if !next.is_empty() {
        eprintln!("{}", lang.pick("Còn nữa: thêm", "There are more: add").to_owned() + " --page-token " + next);
    }
}
