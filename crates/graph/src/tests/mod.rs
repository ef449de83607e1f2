mod basics;
mod images;
mod log;
mod refusals;
mod sketch;
mod structures;
