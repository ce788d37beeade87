-- wrk posts passengers one by one, each as a CSV of a row: 10,000 different ones, over and over.
local header = "PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n"
local sexes, cabins, bodies = {"male", "female"}, {"", "", "", "C85", "E46", "B20"}, {}
math.randomseed(7)
for key = 1, 10000 do
  local age = math.random() < 0.2 and "" or tostring(math.random(0, 160) / 2)
  bodies[key] = header .. table.concat({
    key, math.random(3), sexes[math.random(2)], age, math.random(0, 5), math.random(0, 4),
    string.format("%.4f", math.random() * 200), cabins[math.random(6)],
  }, ",") .. "\n"
end
local headers, turn = {["Content-Type"] = "text/csv"}, 0

function request()
  turn = turn % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[turn])
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  print(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, failed))
end
