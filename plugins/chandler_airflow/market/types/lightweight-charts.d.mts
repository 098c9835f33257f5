// The chart library is served under this name, so that the page needs no build and no import map.
export * from "lightweight-charts";
