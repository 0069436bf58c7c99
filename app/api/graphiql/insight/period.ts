// The days that the page is about: whole ones by the clocks of a time zone, up to the end of today.

export type Period = { from: string; to: string };

/** The browser's time zone; UTC where it does not say. */
export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The last `days` days, today among them. */
export function lastDays(days: number, timeZone: string, now: Date = new Date()): Period {
  const { year, month, day } = clock(now, timeZone);
  const midnight = (offset: number) => moment(Date.UTC(year, month - 1, day + offset), timeZone).toISOString();
  return { from: midnight(1 - days), to: midnight(1) };
}

/** When a zone's clocks show what UTC's show at `shown`: twice corrected, since clocks may change in between. */
function moment(shown: number, timeZone: string): Date {
  const first = shown - offset(new Date(shown), timeZone);
  return new Date(shown - offset(new Date(first), timeZone));
}

/** Milliseconds by which a zone's clocks are ahead of UTC. */
function offset(at: Date, timeZone: string): number {
  const { year, month, day, hour, minute, second } = clock(at, timeZone);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at.getTime() / 1000) * 1000;
}

type Clock = Record<"year" | "month" | "day" | "hour" | "minute" | "second", number>;

function clock(at: Date, timeZone: string): Clock {
  const fields = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" } as const;
  const format = new Intl.DateTimeFormat("en-US", { timeZone, calendar: "gregory", numberingSystem: "latn", hourCycle: "h23", ...fields });
  return Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)])) as Clock;
}
