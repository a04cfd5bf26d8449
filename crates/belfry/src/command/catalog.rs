//! `belfry catalog`: the products and events that are known, for rules and for `belfry send --template`.

use clap::{Args, Subcommand};

use super::show;
use crate::cli::Remote;
use crate::client::{Call, segment};
use crate::failure::{Failure, Result};

/// Commands about the catalog.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Lists products, or the events of one
    List(ListArgs),
    /// Shows an event: names, severity, advice, a pattern for a rule, a sample
    Show(ShowArgs),
}

/// Arguments of `catalog list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The product whose events to list, such as cvm.
    product: Option<String>,
    /// Products of this vendor: tencent, jdcloud, alibaba.
    #[arg(long, conflicts_with = "product")]
    vendor: Option<String>,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Arguments of `catalog show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The event: PRODUCT/EVENT, such as cvm/ping-unreachable.
    template: String,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Does it.
pub async fn run(command: CatalogCommand) -> Result {
    match command {
        CatalogCommand::List(args) => {
            let (client, out) = args.remote.open()?;
            let (call, columns) = match &args.product {
                Some(product) => (
                    Call::get(format!("/v1/catalog/products/{}/events", segment(product))),
                    show::CATALOG_EVENTS,
                ),
                None => (
                    Call::get("/v1/catalog/products").maybe("vendor", args.vendor.clone()),
                    show::CATALOG_PRODUCTS,
                ),
            };
            let answer = client.value(&call).await?;
            let items = answer.get("items").and_then(serde_json::Value::as_array);
            show::list(out, columns, items.map_or(&[], Vec::as_slice))
        }
        CatalogCommand::Show(args) => {
            let (client, out) = args.remote.open()?;
            let Some((product, slug)) = args.template.split_once('/') else {
                let detail = format!("{}: expected PRODUCT/EVENT", args.template);
                return Err(Failure::usage(detail));
            };
            let path = format!("/v1/catalog/events/{}/{}", segment(product), segment(slug));
            out.document(&client.call(&Call::get(path)).await?.text())
        }
    }
}
