import { ByteBudget } from "./byte-budget.js";

const limits = { total: 1000, connection: 600, reserve: 100 };

test("a connection holds its share, and all connections together hold the total", () => {
  const budget = new ByteBudget(limits);
  const [one, other] = [budget.shareOf({}), budget.shareOf({})];
  expect([one.take(600, false), one.take(1, false)]).toEqual([true, false]);
  expect([other.take(401, false), other.take(400, false), other.take(1, false)]).toEqual([false, true, false]);
  one.giveBack(10);
  expect([other.take(10, false), other.take(1, false), budget.bytes]).toEqual([true, false, 1000]);
});

test("small amounts use the reserve when large ones hold the total", () => {
  const budget = new ByteBudget(limits);
  const [one, other] = [budget.shareOf({}), budget.shareOf({})];
  expect([one.take(600, false), other.take(400, false)]).toEqual([true, true]);
  expect([one.take(50, true), one.take(1, true)]).toEqual([true, false]);
  expect([other.take(50, true), other.take(1, true)]).toEqual([true, false]);
});
