//! What the command line asks of control, on `<run>/control.sock`.
//!
//! | | |
//! |---|---|
//! | `POST /apply` | a file with all that was read for it (`Inputs`): make it what runs; 422 with `{"errors": […], "diagnostics": […]}` |
//! | `GET /site` | everything the site does now |
//! | `GET /processes` | the supervised processes, for the agent |
//! | `GET /bans` | bans in force |
//! | `POST /bans` | `{"net", "duration_ms", "why"}` |
//! | `DELETE /bans?net=…` | lift one |
//! | `GET /firewall` | what is in force in the kernel; 409 where no firewall is applied |
//! | `POST /firewall/confirm`, `POST /firewall/revert` | end the trial of a new policy, one way or the other |
//! | `POST /roll?pool=…` | restart a pool's web servers, one at a time |

use crate::bans::Ban;
use crate::inputs::Inputs;
use crate::life_of_a_change::Control;
use crate::{compile, publish, status};
use base::Millis;
use base::events::Event;
use base::net::IpNet;
use futures_util::future::BoxFuture;
use hyper::{Method, StatusCode};
use role::{Request, Response, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

/// The control role on its admin socket.
pub(crate) struct Admin(pub(crate) Arc<Control>);

#[derive(Deserialize)]
struct NewBan {
    net: IpNet,
    duration_ms: u64,
    why: String,
}

impl Role for Admin {
    type Site = Value;
    type Prepared = ();

    fn prepare(&self, _: site::Revision<Value>) -> Result<(), Vec<String>> {
        Err(vec!["control makes revisions; it takes files by `POST /apply`".to_owned()])
    }

    fn commit(&self, (): ()) {}

    fn status(&self) -> Value {
        json!({ "revision": self.0.committed().map(|c| c.revision.id) })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, Option<Response>> {
        Box::pin(async move {
            let answer = match (&request.method, request.path.as_str()) {
                (&Method::GET, "/site") => Response::json(&self.0.gather().await),
                (&Method::GET, "/processes") => {
                    Response::json(&status::processes(&self.0.paths).await.unwrap_or_default())
                }
                (&Method::POST, "/apply") => self.apply(&request).await,
                (&Method::GET, "/bans") => Response::json(&self.bans()),
                (&Method::POST, "/bans") => self.ban(&request).await,
                (&Method::DELETE, "/bans") => self.unban(&request).await,
                (&Method::GET, "/firewall") => self.0.ask_firewall(&firewall::Request::Status).await,
                (&Method::POST, "/firewall/confirm") => self.0.confirm_firewall().await,
                (&Method::POST, "/firewall/revert") => self.0.ask_firewall(&firewall::Request::Revert).await,
                (&Method::POST, "/roll") => self.roll(&request).await,
                _ => return None,
            };
            Some(answer)
        })
    }
}

impl Admin {
    async fn apply(&self, request: &Request) -> Response {
        let inputs: Inputs = match request.json() {
            Ok(inputs) => inputs,
            Err(response) => return response,
        };
        match self.0.apply(&inputs).await {
            Ok(applied) => Response::json(&applied),
            Err(refusal) => {
                let body = json!({ "errors": refusal.messages(), "diagnostics": refusal.diagnostics });
                Response {
                    status: StatusCode::UNPROCESSABLE_ENTITY,
                    content_type: "application/json",
                    body: body.to_string().into_bytes(),
                }
            }
        }
    }

    fn bans(&self) -> Vec<Ban> {
        self.0.bans.lock().unwrap_or_else(PoisonError::into_inner).list(sys::clock::now_ms())
    }

    async fn ban(&self, request: &Request) -> Response {
        let wanted: NewBan = match request.json() {
            Ok(wanted) => wanted,
            Err(response) => return response,
        };
        let net = wanted.net.trunc();
        if let Some(allowed) = self.0.never_banned(net) {
            let why = format!("`{net}` is within `{allowed}`, which is never banned");
            self.0.events.emit(Event::Ban { net, duration: None, what: "refused".into(), why: why.clone() });
            return Response::error(StatusCode::CONFLICT, why);
        }
        let now_ms = sys::clock::now_ms();
        let ban = Ban {
            net,
            until_ms: now_ms.saturating_add(wanted.duration_ms),
            why: wanted.why.clone(),
            edge_only: false,
        };
        let added = self.0.bans.lock().unwrap_or_else(PoisonError::into_inner).add(ban.clone(), now_ms);
        if let Err(fault) = added {
            return Response::error(StatusCode::INSUFFICIENT_STORAGE, fault.to_string());
        }
        let duration = Some(Millis(wanted.duration_ms));
        self.0.events.emit(Event::Ban { net, duration, what: "ban".into(), why: wanted.why });
        let enforced = self.0.send_bans().await;
        Response::json(&json!({ "ban": ban, "enforced": enforced }))
    }

    async fn unban(&self, request: &Request) -> Response {
        let net = match compile::parse_net(request.param("net").unwrap_or_default()) {
            Ok(net) => net,
            Err(why) => return Response::error(StatusCode::BAD_REQUEST, why),
        };
        let removed =
            self.0.bans.lock().unwrap_or_else(PoisonError::into_inner).remove(net, sys::clock::now_ms());
        match removed {
            Ok(true) => {
                self.0.events.emit(Event::Ban {
                    net,
                    duration: None,
                    what: "unban".into(),
                    why: "by hand".into(),
                });
                let enforced = self.0.send_bans().await;
                Response::json(&json!({ "unbanned": net, "enforced": enforced }))
            }
            Ok(false) => Response::error(StatusCode::NOT_FOUND, format!("`{net}` is not banned")),
            Err(fault) => Response::error(StatusCode::INSUFFICIENT_STORAGE, fault.to_string()),
        }
    }

    async fn roll(&self, request: &Request) -> Response {
        let Some(committed) = self.0.committed() else {
            return Response::error(StatusCode::CONFLICT, "no site runs");
        };
        let site = &committed.revision.site;
        let pool = request.param("pool").unwrap_or_default();
        let Some(pool) = site.edge.pools.iter().find(|p| p.name == pool) else {
            return Response::error(StatusCode::NOT_FOUND, format!("there is no pool `{pool}`"));
        };
        let ours = |name: &String| site.processes.iter().any(|p| p.name == *name);
        let names: Vec<String> = pool.servers.iter().map(|s| s.name.clone()).filter(ours).collect();
        if names.is_empty() {
            let why = format!("the web servers of pool `{}` are not run here", pool.name);
            return Response::error(StatusCode::CONFLICT, why);
        }
        match publish::roll(&self.0.paths, site, &names).await {
            Ok(()) => Response::json(&json!({ "restarted": names })),
            Err(why) => Response::error(StatusCode::INTERNAL_SERVER_ERROR, why),
        }
    }
}
