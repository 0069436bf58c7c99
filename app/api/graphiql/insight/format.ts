// How figures and times are written, by the browser's language.

export type Money = { currency: string; amount: string };

const counts = new Intl.NumberFormat();
const percents = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

export const count = (value: number): string => counts.format(value);

/** A share of 0 to 1; a dash where there was nothing to share. */
export const share = (value: number | null): string => (value === null ? "–" : percents.format(value));

/** An amount with exactly the digits that the API gives it, which are those of its currency (ISO 4217). */
export function money({ currency, amount }: Money): string {
  const digits = amount.split(".")[1]?.length ?? 0;
  const format = new Intl.NumberFormat(undefined, {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return format.format(amount as Intl.StringNumericLiteral);
}

/** Amounts of several currencies, which never add; nothing at all is zero in `currency`. */
export function moneys(amounts: Money[], currency: string | null): string {
  if (amounts.length) return amounts.map(money).join(" + ");
  return currency === null ? "0" : new Intl.NumberFormat(undefined, { style: "currency", currency }).format(0);
}

/** The name of an enum's value or a type of event, as words. */
export function words(name: string): string {
  const lower = name.toLowerCase().replaceAll("_", " ");
  return lower.charAt(0).toUpperCase() + lower.slice(1);
}

export const day = (moment: string, timeZone: string): string => written(moment, { timeZone, month: "short", day: "numeric" });

export const time = (moment: string, timeZone: string): string => written(moment, { timeZone, timeStyle: "medium" });

/** A day and a time, each in one piece: a narrow table breaks the line between them. */
export function moment(at: string, timeZone: string): string {
  const text = written(at, { timeZone, month: "short", day: "numeric", hour: "numeric", minute: "numeric" });
  return text.replace(/(?<!,)\s/g, "\u00a0");
}

function written(moment: string, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(undefined, options).format(new Date(moment));
}
