"""alpaca-py as it is published: every name of it that the conformance tests use, imported in one place.

Owns the import and nothing else. Where the SDK is not installed, importing this skips the test module. The SDK's
streams are built on `websockets.legacy`, which says on import that it is deprecated; that is the SDK's to mend, so
this one warning is allowed here, and all others fail as everywhere.
"""

# ruff: noqa: F401  imported here for others to import

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("alpaca", reason="alpaca-py is not installed")

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    from alpaca.common.enums import Sort
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import Adjustment, DataFeed, Exchange
    from alpaca.data.historical.crypto import CryptoHistoricalDataClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.live.crypto import CryptoDataStream
    from alpaca.data.live.stock import StockDataStream
    from alpaca.data.models import (
        Bar,
        Orderbook,
        Quote,
        Snapshot,
        Trade,
        TradeCancel,
        TradeCorrection,
        TradingStatus,
    )
    from alpaca.data.requests import (
        CryptoBarsRequest,
        CryptoLatestBarRequest,
        CryptoLatestOrderbookRequest,
        CryptoLatestQuoteRequest,
        CryptoLatestTradeRequest,
        CryptoQuoteRequest,
        CryptoSnapshotRequest,
        CryptoTradesRequest,
        StockBarsRequest,
        StockLatestBarRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockQuotesRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import (
        AccountStatus,
        AssetClass,
        AssetExchange,
        AssetStatus,
        DTBPCheck,
        OrderClass,
        OrderSide,
        OrderStatus,
        OrderType,
        PositionIntent,
        PositionSide,
        QueryOrderStatus,
        TimeInForce,
        TradeConfirmationEmail,
        TradeEvent,
    )
    from alpaca.trading.models import (
        AccountConfiguration,
        FailedClosePositionDetails,
        NonTradeActivity,
        Order,
        Position,
        TradeActivity,
        TradeUpdate,
    )
    from alpaca.trading.requests import (
        ClosePositionRequest,
        CreateWatchlistRequest,
        GetAssetsRequest,
        GetCalendarRequest,
        GetOrderByIdRequest,
        GetOrdersRequest,
        GetPortfolioHistoryRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        ReplaceOrderRequest,
        StopLimitOrderRequest,
        StopLossRequest,
        StopOrderRequest,
        TakeProfitRequest,
        TrailingStopOrderRequest,
        UpdateWatchlistRequest,
    )
    from alpaca.trading.stream import TradingStream
