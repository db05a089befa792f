"use strict";
// The losses of an ablation to point at and to zoom into, drawn by Plotly when somebody opens them. The report says all of it
// without a script; here every run is a point.

(() => {
  const holder = document.querySelector("[data-curves]");
  if (!holder) return;
  const place = holder.querySelector("[data-drawing]");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = ["--source", "--kept", "--rejected", "--quarantined", "--kept-ink", "--rejected-ink", "--quarantined-ink"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star", "cross"];

  // Plotly and a library in it would write style sheets into the page, which the policy forbids. Where an element of its id is
  // there, each leaves it be; plotly.css has what our drawings need.
  const SHEET = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
  function loaded() {
    const stand = document.createElement("meta");
    stand.id = SHEET;
    document.head.append(stand);
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = holder.dataset.plotly;
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("the drawing library did not load")));
      document.head.append(script);
    });
  }

  function traces(result) {
    const arms = [...new Set(result.arms.map((arm) => arm.name))];
    return arms.map((arm, number) => {
      const runs = result.endpoints.filter((run) => run.arm === arm && run.bits_per_byte !== null);
      runs.sort((a, b) => a.seed - b.seed || a.tokens - b.tokens);
      const points = [];
      for (const run of runs) {
        if (points.length && points.at(-1).seed !== run.seed) points.push(null); // a line for each seed
        points.push(run);
      }
      return {
        name: arm, type: "scatter", mode: "lines+markers", connectgaps: false,
        x: points.map((run) => (run ? run.tokens : null)),
        y: points.map((run) => (run ? run.bits_per_byte : null)),
        customdata: points.map((run) => (run ? run.seed : null)),
        line: { color: colour(COLOURS[number % COLOURS.length]), width: 1.5 },
        marker: { symbol: SYMBOLS[number % SYMBOLS.length], size: 8 },
        hovertemplate: "%{y:.4f} bits per byte<br>%{x:,} tokens, seed %{customdata}",
      };
    });
  }

  function layout() {
    const ink = colour("--ink"), line = colour("--line");
    const axis = { gridcolor: line, linecolor: line, zeroline: false };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "inherit", size: 13 },
      margin: { l: 56, r: 12, t: 12, b: 48 }, legend: { orientation: "h", y: 1.12 }, dragmode: "zoom", hovermode: "closest",
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: line, font: { color: ink } },
      xaxis: { ...axis, type: "log", title: { text: "tokens trained on" } }, yaxis: { ...axis, title: { text: "bits per byte" } },
    };
  }

  async function draw() {
    try {
      const [answer] = await Promise.all([fetch(holder.dataset.curves), loaded()]);
      if (!answer.ok) throw new Error(`the service answered with ${answer.status}`);
      const options = { responsive: true, displayModeBar: false, doubleClick: "reset" };
      await window.Plotly.newPlot(place, traces(await answer.json()), layout(), options);
      holder.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = `The losses cannot be drawn: ${error.message}. The report below has them.`;
    }
  }

  holder.addEventListener("toggle", () => {
    if (holder.open && !holder.dataset.began) {
      holder.dataset.began = "yes";
      draw();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (holder.dataset.drawn) draw(); });
})();
