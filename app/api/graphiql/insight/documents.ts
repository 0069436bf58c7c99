// All that the page asks of the API, and what it reads of the answers.
import type { Document } from "./api";
import type { Money } from "./format";

import conversionText from "./documents/conversion.graphql?raw";
import funnelText from "./documents/funnel.graphql?raw";
import liveText from "./documents/live.graphql?raw";
import overviewText from "./documents/overview.graphql?raw";
import productsText from "./documents/products.graphql?raw";
import qualityText from "./documents/quality.graphql?raw";
import reconciliationText from "./documents/reconciliation.graphql?raw";
import recoveryText from "./documents/recovery.graphql?raw";
import revenueText from "./documents/revenue.graphql?raw";
import rightsText from "./documents/rights.graphql?raw";
import signInText from "./documents/sign_in.graphql?raw";
import signOutText from "./documents/sign_out.graphql?raw";
import viewerText from "./documents/viewer.graphql?raw";

export type Shop = { id: string; name: string; settings: { currency: string; timezone: string } | null };
export type Viewer = { username: string; name: string | null; store: Shop | null };
type Total = { totalCount: number };

export const viewer: Document<{ me: Viewer | null; stores: { nodes: Shop[] } }> = { text: viewerText };
export const rights: Document<unknown> = { text: rightsText };
export const signIn: Document<{ signIn: { userErrors: { message: string }[] } | null }> = { text: signInText };
export const signOut: Document<unknown> = { text: signOutText };

export type Overview = {
  visitors: number;
  sessions: number;
  carts: number;
  abandonedCarts: number;
  orders: number;
  completedOrders: number;
  conversion: number | null;
  abandonment: number | null;
  revenue: (Money & { averageOrderValue: string })[];
};
export const overview: Document<{ analytics: { overview: Overview } }> = { text: overviewText };

export type RevenueBucket = { start: string; revenue: (Money & { orders: number })[] };
export const revenue: Document<{ analytics: { timeSeries: RevenueBucket[] } }> = { text: revenueText };

export type ConversionBucket = { start: string; sessions: number; orders: number; conversion: number | null };
export const conversion: Document<{ analytics: { timeSeries: ConversionBucket[] } }> = { text: conversionText };

export type FunnelStep = { step: string; visitors: number; conversion: number | null; stepConversion: number | null };
export const funnel: Document<{ analytics: { funnel: FunnelStep[] } }> = { text: funnelText };

export type TopProduct = { product: { name: string } | null; views: number; units: number; revenue: Money[] };
export const products: Document<{ analytics: { topProducts: TopProduct[] } }> = { text: productsText };

export type RecoveryAttempt = {
  status: string;
  createdAt: string;
  recoveredAmount: string | null;
  currency: string | null;
  cart: { total: string; currency: string } | null;
};
export const recovery: Document<{
  abandoned: Total;
  attempts: Total & { nodes: RecoveryAttempt[] };
  sent: Total;
  recovered: Total;
}> = { text: recoveryText };

export type FailedCheck = { checkName: string; tableName: string; severity: string; affectedRows: number; executedAt: string };
export const quality: Document<{ runs: Total; failed: Total & { nodes: FailedCheck[] }; anomalies: Total }> = { text: qualityText };

export type Execution = { status: string; progress: number; recordsChecked: number; discrepancies: number; executedAt: string };
export type Rule = { name: string; enabled: boolean; nextRunAt: string | null; executions: { nodes: Execution[] } };
export const reconciliation: Document<{ reconciliationRules: Total & { nodes: Rule[] } }> = { text: reconciliationText };

export type LiveFigures = { since: string; at: string; events: number | null; carts: number; orders: number; revenue: Money[] };
export const live: Document<{ liveMetrics: LiveFigures }> = { text: liveText };
