// Validates objects of the Prometheus operator against the schemas published with its types.
//
// Reads a JSON list of {where, object} from standard input and prints a JSON list of problems. The schemas accept unknown
// fields, and the operator would silently drop them. So a proxy records the fields that the validation reads, and a field
// that no schema reads is a problem too.
import { readFileSync } from "node:fs";

const KINDS = new Set(["ServiceMonitor", "PodMonitor", "PrometheusRule"]);
const PREFIX = "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1";

// Wraps a value to record the path of each field that is read in `seen`.
function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  const children = new Map();
  return new Proxy(value, {
    get(target, key) {
      const own = typeof key === "string" && Object.hasOwn(target, key);
      if (!own || (Array.isArray(target) && key === "length")) return target[key];
      const at = `${path}/${key}`;
      seen.add(at);
      if (!children.has(key)) children.set(key, watched(target[key], at, seen));
      return children.get(key);
    },
  });
}

// The paths of all fields.
function* paths(value, path = "") {
  if (value === null || typeof value !== "object") return;
  for (const [key, child] of Object.entries(value)) {
    yield `${path}/${key}`;
    yield* paths(child, `${path}/${key}`);
  }
}

const problems = [];
for (const { where, object } of JSON.parse(readFileSync(0, "utf8"))) {
  const { kind, apiVersion } = object;
  if (apiVersion !== "monitoring.coreos.com/v1" || !KINDS.has(kind)) {
    problems.push(`${where}: ${apiVersion} ${kind} is none that can be checked`);
    continue;
  }
  const { validate } = await import(`./node_modules/@kubernetes-models/prometheus-operator/_schemas/${PREFIX}${kind}.js`);
  const seen = new Set();
  if (!validate(watched(object, "", seen))) {
    for (const error of validate.errors) problems.push(`${where}: ${error.instancePath} ${error.message ?? error.keyword}`);
    continue;
  }
  for (const path of paths(object)) {
    if (!seen.has(path)) problems.push(`${where}: ${path} is no field of ${kind}`);
  }
}
process.stdout.write(JSON.stringify(problems));
