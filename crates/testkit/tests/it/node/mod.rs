//! A whole node on the fault disk: namespaces, images, backups, and the plainest model of what they hold.

mod acts;
mod compare;
mod copies;
mod model;
mod requests;
mod running;
mod sweep;
mod world;
