"use strict";
// Draws each figure from the JSON beside it; on the map, a click on a latent opens its card.
(function () {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const cards = JSON.parse(document.getElementById("main").dataset.cards || "{}");
  const surface = () => dark.matches
    ? { paper: "#11151c", text: "#e6e9ef", grid: "#2a303b" }
    : { paper: "#ffffff", text: "#1f2430", grid: "#e3e6eb" };
  function dress(layout) {
    const colours = surface();
    const dressed = Object.assign({}, layout, {
      paper_bgcolor: colours.paper, plot_bgcolor: colours.paper, autosize: true,
      font: Object.assign({}, layout.font, { color: colours.text }),
    });
    delete dressed.width;
    for (const name of Object.keys(dressed).filter((key) => /^[xy]axis\d*$/.test(key)).concat(["xaxis", "yaxis"])) {
      dressed[name] = Object.assign({}, dressed[name], { gridcolor: colours.grid, zerolinecolor: colours.grid });
    }
    return dressed;
  }
  function draw(figure) {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const place = figure.querySelector(".plot");
    Plotly.react(place, spec.data, dress(spec.layout || {}), { displaylogo: false, responsive: true });
    return place;
  }
  const figures = Array.from(document.querySelectorAll("figure.chart"));
  for (const figure of figures) {
    const place = draw(figure);
    place.on("plotly_click", (event) => {
      const file = cards[String(event.points[0].customdata)];
      if (file) location.href = file;
    });
  }
  dark.addEventListener("change", () => figures.forEach(draw));
})();
