mod basics;
mod log;
mod refusals;
mod sketch;
mod structures;
