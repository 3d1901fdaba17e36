//! MosaicML streaming datasets (MDS).
