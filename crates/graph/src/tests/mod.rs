mod basics;
mod sketch;
