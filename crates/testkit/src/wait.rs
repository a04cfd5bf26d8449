//! Waiting for a fact.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How often a fact is looked at. Short beside everything that is waited for, long beside what looking costs.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks until the answer is there, and gives it back; fails when it is not there in time.
///
/// An error of the question itself ends the waiting at once: a fact that cannot be asked for will not come.
pub async fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut fact: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = fact().await? {
            return Ok(found);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fact_is_asked_for_until_it_is_there() {
        let mut asked = 0;
        let found = wait_until("the third answer", Duration::from_secs(5), async || {
            asked += 1;
            Ok((asked == 3).then_some("here"))
        });
        assert_eq!(found.await.unwrap(), "here");
    }

    #[tokio::test]
    async fn what_never_comes_and_what_cannot_be_asked_are_errors() {
        let limit = Duration::from_millis(20);
        let never = wait_until("the sun", limit, async || Ok(None::<()>))
            .await
            .unwrap_err();
        assert!(never.to_string().contains("the sun"), "{never}");
        let broken = wait_until("x", limit, async || -> Result<Option<()>> {
            bail!("broken")
        });
        assert_eq!(broken.await.unwrap_err().to_string(), "broken");
    }
}
