// The panels in the order of the page.
import { bar, chart, figures, table } from "./charts";
import * as documents from "./documents";
import { h } from "./dom";
import { count, day, moment, money, moneys, share, words } from "./format";
import { panel, type Panel, type Scope } from "./panel";

const spanned = ({ period, store }: Scope) => ({ ...period, store: store?.id ?? null });
const daily = (scope: Scope) => ({ ...spanned(scope), timeZone: scope.zone });

const overview = panel({
  title: "Overview",
  document: documents.overview,
  analytics: true,
  variables: spanned,
  draw: ({ analytics: { overview: told } }, { currency }) =>
    figures(
      ["Revenue", moneys(told.revenue, currency)],
      ["Average order", moneys(told.revenue.map(({ currency, averageOrderValue: amount }) => ({ currency, amount })), currency)],
      ["Visitors", count(told.visitors)],
      ["Visits", count(told.sessions)],
      ["Orders placed", count(told.orders)],
      ["Orders completed", count(told.completedOrders)],
      ["Conversion", share(told.conversion)],
      ["Carts", count(told.carts)],
      ["Carts abandoned", count(told.abandonedCarts)],
      ["Abandonment", share(told.abandonment)],
    ),
});

const revenue = panel({
  title: "Revenue over time",
  document: documents.revenue,
  analytics: true,
  variables: daily,
  draw: ({ analytics: { timeSeries } }, scope) => {
    const currencies = [...new Set(timeSeries.flatMap(({ revenue }) => revenue.map(({ currency }) => currency)))].sort();
    if (!currencies.length) return h("p", {}, `Nothing was sold in these ${scope.days} days: ${moneys([], scope.currency)}.`);
    return currencies.map((currency) => revenueIn(currency, timeSeries, scope));
  },
});

function revenueIn(currency: string, series: documents.RevenueBucket[], { zone }: Scope): HTMLElement {
  const days = series.map(({ start, revenue }) => {
    const sold = revenue.find((each) => each.currency === currency);
    return { label: day(start, zone), value: Number(sold?.amount ?? 0), shown: moneys(sold ? [sold] : [], currency), orders: sold?.orders ?? 0 };
  });
  const rows = days.map(({ label, shown, orders }) => [label, shown, count(orders)]);
  const digits = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return chart("bars", `Revenue in ${currency}`, days, (value) => digits.format(value), table(`Revenue in ${currency} by day`, ["Day", "Revenue", "Orders"], rows));
}

const conversion = panel({
  title: "Conversion over time",
  document: documents.conversion,
  analytics: true,
  variables: daily,
  draw: ({ analytics: { timeSeries } }, { zone }) => {
    const days = timeSeries.map((bucket) => ({ ...bucket, label: day(bucket.start, zone), value: bucket.conversion, shown: share(bucket.conversion) }));
    const rows = days.map(({ label, shown, sessions, orders }) => [label, count(sessions), count(orders), shown]);
    return chart("line", "Orders for each visit", days, share, table("Conversion by day", ["Day", "Visits", "Orders", "Conversion"], rows));
  },
});

const funnel = panel({
  title: "Funnel",
  document: documents.funnel,
  analytics: true,
  variables: spanned,
  draw: ({ analytics: { funnel: steps } }) => {
    const rows = steps.map(({ step, visitors, conversion, stepConversion }) => [
      [words(step), bar(conversion ?? 0)],
      count(visitors),
      share(conversion),
      share(stepConversion),
    ]);
    return [
      table("How far visitors came within a day of the first step", ["Step", "Visitors", "Of the first", "Of the one before"], rows),
      h("p", { class: "note" }, "Visitors who took these steps in this order, within a day of the first."),
    ];
  },
});

const products = panel({
  title: "Top products",
  document: documents.products,
  analytics: true,
  variables: spanned,
  draw: ({ analytics: { topProducts } }, { currency, days }) => {
    if (!topProducts.length) return h("p", {}, `No product was seen or sold in these ${days} days.`);
    const rows = topProducts.map(({ product, views, units, revenue }) => [
      product?.name ?? "No longer there",
      count(views),
      count(units),
      moneys(revenue, currency),
    ]);
    return table("The products sold most", ["Product", "Views", "Sold", "Revenue"], rows);
  },
});

const recovery = panel({
  title: "Abandoned carts",
  document: documents.recovery,
  variables: ({ period: { from, to }, store }) => {
    const of = { createdAt: { gte: from, lt: to }, ...(store && { storeId: { eq: store.id } }) };
    return { carts: of, recoveries: of };
  },
  draw: ({ abandoned, attempts, sent, recovered }, { zone }) => [
    figures(
      ["Abandoned now", count(abandoned.totalCount)],
      ["Reminders sent", count(sent.totalCount)],
      ["Recovered", count(recovered.totalCount)],
      ["Recovery rate", share(sent.totalCount ? recovered.totalCount / sent.totalCount : null)],
    ),
    attempts.nodes.length
      ? table("The newest attempts to win carts back", ["When", "Cart", "Outcome"], attempts.nodes.map((each) => attempt(each, zone)))
      : h("p", { class: "note" }, "Nobody was reminded of a cart that was left in these days."),
  ],
});

function attempt({ status, createdAt, cart, recoveredAmount, currency }: documents.RecoveryAttempt, zone: string): string[] {
  const won = recoveredAmount !== null && currency !== null ? `: ${money({ currency, amount: recoveredAmount })}` : "";
  return [moment(createdAt, zone), cart ? money({ currency: cart.currency, amount: cart.total }) : "–", words(status) + won];
}

const quality = panel({
  title: "Data quality",
  document: documents.quality,
  variables: ({ period: { from } }) => ({ since: from }),
  draw: ({ runs, failed, anomalies }, { zone }) => [
    figures(["Checks run", count(runs.totalCount)], ["Checks failed", count(failed.totalCount)], ["Open anomalies", count(anomalies.totalCount)]),
    failed.nodes.length
      ? table("The newest checks that failed", ["Check", "Severity", "Rows", "When"], failed.nodes.map((check) => failedCheck(check, zone)))
      : h("p", { class: "note" }, "No check has failed in these days."),
  ],
});

function failedCheck({ checkName, tableName, severity, affectedRows, executedAt }: documents.FailedCheck, zone: string): string[] {
  return [`${checkName} (${tableName})`, words(severity), count(affectedRows), moment(executedAt, zone)];
}

const reconciliation = panel({
  title: "Reconciliation",
  document: documents.reconciliation,
  variables: () => ({}),
  draw: ({ reconciliationRules: { nodes, totalCount } }, { zone }) => {
    if (!nodes.length) return h("p", {}, "There are no rules.");
    const rows = nodes.map((rule) => state(rule, zone));
    return [
      table("Rules and their last run", ["Rule", "Last run", "Differing", "Next run"], rows),
      totalCount > nodes.length ? h("p", { class: "note" }, `The first ${nodes.length} of ${count(totalCount)} rules.`) : null,
    ];
  },
});

function state({ name, enabled, nextRunAt, executions: { nodes: [last] } }: documents.Rule, zone: string): string[] {
  const status = last && (last.status === "RUNNING" ? `Running, ${last.progress} %` : words(last.status));
  const next = !enabled ? "Switched off" : nextRunAt ? moment(nextRunAt, zone) : "When asked";
  return [
    name,
    last ? `${status}, ${moment(last.executedAt, zone)}` : "Never",
    last ? `${count(last.discrepancies)} of ${count(last.recordsChecked)} rows` : "–",
    next,
  ];
}

export const panels: Panel[] = [overview, revenue, conversion, funnel, products, recovery, quality, reconciliation];
