"""The nodes of sqlglot's tree that are values computed from values.

A function is allowed by its name in the text (see `guard_tokens`); these are the
nodes that the listed names become. A node with another name is denied even when
the name in the text is listed: sqlglot then read something else than a call.
"""

from __future__ import annotations

from plainsql.execution.policies.base import words

FUNCTION_NODES = words(
    "Abs Acos Acosh AddMonths Anonymous AnyValue ApproxDistinct ApproxQuantile ApproxTopK ArgMax "
    "ArgMin ArrayAgg ArrayAppend ArrayConcat ArrayContains ArrayDistinct ArrayFilter "
    "ArrayIntersect ArrayMax ArrayMin ArrayPosition ArrayPrepend ArrayRemove ArrayReverse "
    "ArraySize ArraySlice ArraySort ArrayToString Ascii Asin Asinh Atan Atan2 Atanh Avg BitLength "
    "BitwiseAndAgg BitwiseCount BitwiseOrAgg BitwiseXorAgg CastToStrType Cbrt Ceil Chr Coalesce "
    "Concat ConcatWs Contains ConvertTimezone Corr Cos Cosh CosineDistance Cot Count CountIf "
    "CovarPop CovarSamp CumeDist CurrentDate CurrentDatetime CurrentTime CurrentTimestamp Date "
    "DateAdd DateBin DateDiff DateFromParts DateStrToDate DateSub DateTrunc Day DayOfMonth "
    "DayOfWeek DayOfWeekIso DayOfYear Dayname Decode DecodeCase Degrees DenseRank Elt Encode "
    "EndsWith EuclideanDistance Exp Explode ExplodingGenerateSeries Extract Factorial First "
    "FirstValue Flatten Floor Format FromBase64 FromJson GenerateSeries Getbit Greatest "
    "GroupConcat Grouping GroupingId Hex Host Hour Initcap IsInf IsNan JSONArray JSONArrayAgg "
    "JSONArrayContains JSONBContainsAllTopKeys JSONBContainsAnyTopKeys JSONBContainsTopKey "
    "JSONBDeleteAtPath JSONBExtract JSONBExtractScalar JSONBObjectAgg JSONBPathExists JSONExtract "
    "JSONExtractScalar JSONKeys JSONObject JSONObjectAgg JSONStripNulls JSONType "
    "JarowinklerSimilarity JustifyDays JustifyHours JustifyInterval Kurtosis Lag Last "
    "LastDay LastValue Lead Least Left Length Levenshtein Ln Localtime Localtimestamp Log "
    "LogicalAnd LogicalOr Lower MD5 MakeInterval Map MapFromEntries MapKeys Max Median Min Minute "
    "Mode Month Monthname Normalize NthValue Ntile Nullif NumberToStr Nvl2 Overlay Pad ParseJSON "
    "PercentRank PercentileCont PercentileDisc Pi Quarter Radians Rand Rank Reduce RegexpCount "
    "RegexpExtract RegexpExtractAll RegexpFullMatch RegexpInstr RegexpReplace RegexpSplit "
    "RegexpSubstr RegrAvgx RegrAvgy RegrCount RegrIntercept RegrR2 RegrSlope RegrSxx RegrSxy "
    "RegrSyy Repeat Replace Reverse Right Round RowNumber SHA SHA2 SHA2Digest Second Sign Sin "
    "Sinh Skewness Soundex Space Split SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp "
    "StrPosition StrToDate StrToTime StringToArray StructExtract Stuff Substring SubstringIndex "
    "Sum Tan Tanh Time TimeFromParts TimeStrToTime TimeToStr TimeToUnix Timestamp TimestampAdd "
    "TimestampDiff TimestampFromParts TimestampSub TimestampTrunc ToBase64 ToBinary ToChar ToDays "
    "ToNumber Transform Translate Trim Trunc TsOrDsAdd TsOrDsDiff TsOrDsToDate TsOrDsToTimestamp "
    "Typeof Unhex Unicode UnixToTime Upper UtcDate UtcTime UtcTimestamp Uuid Variance VariancePop "
    "Week WeekOfYear WidthBucket Year"
)
