mod basics;
mod damage;
mod images;
mod log;
mod refusals;
mod sketch;
mod structures;
