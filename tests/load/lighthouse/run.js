// Audit pages, each in a browser of its own that knows nothing yet. Takes {"runs", "pages": [{"name", "url", "cookie"}]}
// and answers each run by a line of JSON.
import { readFileSync } from "node:fs";
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";

const CATEGORIES = ["performance", "accessibility", "best-practices"];
const { runs, pages } = JSON.parse(readFileSync(0, "utf8"));

// What cost a category points.
function failed({ auditRefs }, audits) {
  return auditRefs
    .map(({ id, weight }) => ({ ...audits[id], weight }))
    .filter(({ score, weight }) => weight && score !== null && score < 0.9)
    .map(({ id, title, displayValue }) => [id, title, displayValue].filter(Boolean).join(": "));
}

for (const { name, url, cookie } of pages) {
  for (let run = 0; run < runs; run += 1) {
    const chrome = await launch({ chromeFlags: ["--headless", "--no-sandbox", "--disable-gpu"] });
    try {
      const { lhr } = await lighthouse(url, {
        port: chrome.port,
        logLevel: "error",
        onlyCategories: CATEGORIES,
        throttlingMethod: "simulate",
        extraHeaders: cookie ? { Cookie: cookie } : {},
      });
      const { audits, categories } = lhr;
      console.log(JSON.stringify({
        name,
        at: lhr.finalDisplayedUrl,
        error: lhr.runtimeError?.message,
        scores: Object.fromEntries(CATEGORIES.map((each) => [each, Math.round(100 * categories[each].score)])),
        shift: audits["cumulative-layout-shift"].numericValue,
        requests: (audits["network-requests"].details?.items ?? [])
          .map((request) => ({ url: request.url, bytes: request.transferSize, status: request.statusCode })),
        failed: CATEGORIES.flatMap((each) => failed(categories[each], audits)),
      }));
    } finally {
      chrome.kill();
    }
  }
}
