//! A whole node on the fault disk: namespaces, images, backups, and the plainest model of what they hold.

mod acts;
mod breaking;
mod compare;
mod copies;
mod model;
mod requests;
mod rest;
mod running;
mod sweep;
mod whole;
mod world;
